using System.Buffers.Binary;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.TestKit;

/// <summary>A frame that the device sent.</summary>
public sealed record ScriptedFrame(FrameType Type, uint Sequence, byte[] Body);

/// <summary>What the device said in HELLO.</summary>
public sealed record ScriptedHello(
    AuthenticationMode Authentication,
    Features Features,
    uint BootId,
    uint HighestUsed,
    string DeviceId,
    string Firmware);

/// <summary>What WELCOME says.</summary>
public sealed record ScriptedTerms
{
    public long GatewayTime { get; init; }

    public uint LastSafe { get; init; }

    public ushort Window { get; init; } = 100;

    public ushort LargestBody { get; init; } = ProtocolConstants.BodyBytesMax;

    public ushort IdleSeconds { get; init; } = 30;

    public bool GrantTags { get; init; } = true;
}

/// <summary>A gateway that says what the test tells it to, right or wrong, over real sockets on loopback.</summary>
public sealed class ScriptedGateway : IAsyncDisposable
{
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly List<ScriptedConnection> connections = [];

    public ScriptedGateway() => listener.Start();

    public int Port => ((IPEndPoint)listener.LocalEndpoint).Port;

    /// <summary>The device's key; null to take every device at its word.</summary>
    public byte[]? Key { get; init; }

    /// <summary>TLS towards the device; null for none.</summary>
    public SslServerAuthenticationOptions? Tls { get; init; }

    /// <summary>Accepts a connection and says nothing.</summary>
    public async Task<ScriptedConnection> AcceptAsync()
    {
        Socket socket = await Guard.Limit(listener.AcceptSocketAsync());
        socket.NoDelay = true;
        Stream stream = new NetworkStream(socket, ownsSocket: true);
        if (Tls is not null)
        {
            var tls = new SslStream(stream);
            await Guard.Limit(tls.AuthenticateAsServerAsync(Tls));
            stream = tls;
        }

        var connection = new ScriptedConnection(socket, stream, Key);
        lock (connections)
            connections.Add(connection);
        return connection;
    }

    /// <summary>Accepts a connection and does everything right up to WELCOME.</summary>
    public async Task<ScriptedConnection> WelcomeAsync(ScriptedTerms? terms = null)
    {
        ScriptedConnection connection = await AcceptAsync();
        await connection.ReceiveHelloAsync();
        if (Key is not null)
        {
            await connection.ChallengeAsync();
            await connection.ReceiveAuthAsync();
        }

        await connection.WelcomeAsync(terms);
        return connection;
    }

    public async ValueTask DisposeAsync()
    {
        listener.Dispose();
        foreach (ScriptedConnection connection in connections)
            await connection.DisposeAsync();
    }
}

/// <summary>One connection of a <see cref="ScriptedGateway"/>.</summary>
public sealed class ScriptedConnection(Socket socket, Stream stream, byte[]? key) : IAsyncDisposable
{
    private readonly byte[] input = new byte[64 * 1024];
    private readonly SemaphoreSlim sending = new(1);
    private int start;
    private int end;
    private byte[] helloBody = [];
    private byte[] nonce = [];
    private FrameTagger? fromDevice;
    private FrameTagger? fromGateway;

    public ScriptedHello? Hello { get; private set; }

    public bool IsTagged => fromDevice is not null;

    /// <summary>Sends one byte at a time.</summary>
    public bool SendsSingleBytes { get; set; }

    public Stream Stream => stream;

    public async Task<ScriptedHello> ReceiveHelloAsync()
    {
        ScriptedFrame frame = await ReceiveAsync(FrameType.Hello);
        helloBody = frame.Body;
        if (!Protocol.Hello.TryRead(helloBody, out Hello hello))
            throw new InvalidDataException("malformed HELLO");
        return Hello = new ScriptedHello(
            hello.Authentication, hello.Features, hello.BootId, hello.HighestUsed,
            Encoding.UTF8.GetString(hello.DeviceId), Encoding.UTF8.GetString(hello.Firmware));
    }

    public Task ChallengeAsync() =>
        SendAsync(FrameType.Challenge, 0, nonce = RandomNumberGenerator.GetBytes(ProtocolConstants.NonceBytes));

    /// <summary>Throws if the device's proof is wrong.</summary>
    public async Task ReceiveAuthAsync()
    {
        ScriptedFrame auth = await ReceiveAsync(FrameType.Auth);
        var expected = new byte[ProtocolConstants.ProofBytes];
        Proofs.Device(key, helloBody, nonce, expected);
        if (!expected.AsSpan().SequenceEqual(auth.Body))
            throw new InvalidDataException("the device's proof is wrong");
    }

    public async Task WelcomeAsync(ScriptedTerms? terms = null)
    {
        byte[] body = WelcomeBody(terms ??= new ScriptedTerms());
        await SendAsync(FrameType.Welcome, 0, body);
        if (key is null || !terms.GrantTags || !Hello!.Features.HasFlag(Features.TaggedFrames))
            return;
        var sessionKey = new byte[ProtocolConstants.ProofBytes];
        Proofs.SessionKey(key, helloBody, nonce, sessionKey);
        fromDevice = new FrameTagger(sessionKey, FrameDirection.FromDevice);
        fromGateway = new FrameTagger(sessionKey, FrameDirection.FromGateway);
    }

    /// <summary>A WELCOME body with the right proof.</summary>
    public byte[] WelcomeBody(ScriptedTerms terms)
    {
        bool areTags = terms.GrantTags && Hello!.Features.HasFlag(Features.TaggedFrames);
        var body = new byte[Welcome.BodyBytes];
        new Welcome
        {
            GatewayTime = terms.GatewayTime,
            LastSafeSequence = terms.LastSafe,
            Window = terms.Window,
            LargestBody = terms.LargestBody,
            IdleTimeoutSeconds = terms.IdleSeconds,
            FeaturesGranted = areTags ? Features.TaggedFrames : Features.None,
        }.WriteBody(body);
        if (key is not null)
        {
            Span<byte> proof = body.AsSpan(Welcome.BytesBeforeProof);
            Proofs.Gateway(key, helloBody, nonce, body.AsSpan(0, Welcome.BytesBeforeProof), proof);
        }

        return body;
    }

    /// <summary>The next frame of a type; throws if another comes first.</summary>
    public async Task<ScriptedFrame> ReceiveAsync(FrameType type)
    {
        ScriptedFrame? frame = await ReceiveAsync();
        return frame?.Type == type ? frame : throw new InvalidDataException($"expected {type}, got {frame}");
    }

    /// <summary>
    /// The next frame; null when the device has closed or reset. Throws if a frame or its tag is wrong.
    /// </summary>
    public async Task<ScriptedFrame?> ReceiveAsync()
    {
        while (true)
        {
            if (TryTake(out ScriptedFrame? frame))
                return frame;
            input.AsSpan(start, end - start).CopyTo(input);
            (start, end) = (0, end - start);
            int count = await ReadAsync(input.AsMemory(end));
            if (count == 0)
                return null;
            end += count;
        }
    }

    /// <summary>DATA sequences, as many as asked for; throws if another type comes.</summary>
    public async Task<uint[]> ReceiveDataAsync(int count)
    {
        var sequences = new uint[count];
        for (int i = 0; i < count; i++)
            sequences[i] = (await ReceiveAsync(FrameType.Data)).Sequence;
        return sequences;
    }

    /// <summary>Reads until the device has closed; gives what came before.</summary>
    public async Task<IReadOnlyList<ScriptedFrame>> ReceiveUntilClosedAsync()
    {
        var frames = new List<ScriptedFrame>();
        while (await ReceiveAsync() is { } frame)
            frames.Add(frame);
        return frames;
    }

    public Task AckAsync(uint sequence, ushort window)
    {
        var body = new byte[sizeof(ushort)];
        BinaryPrimitives.WriteUInt16LittleEndian(body, window);
        return SendAsync(FrameType.Ack, sequence, body);
    }

    public Task NackAsync(uint sequence, NackReason reason, string text = "") =>
        SendAsync(FrameType.Nack, sequence, [(byte)reason, .. Encoding.UTF8.GetBytes(text)]);

    public Task ByeAsync(ByeReason reason) => SendAsync(FrameType.Bye, 0, [(byte)reason]);

    public Task RefuseAsync(RefuseReason reason, ushort retryAfterSeconds, string text = "") =>
        SendAsync(
            FrameType.Refuse, 0,
            [(byte)reason, (byte)retryAfterSeconds, (byte)(retryAfterSeconds >> 8), .. Encoding.UTF8.GetBytes(text)]);

    public async Task SendAsync(FrameType type, uint sequence, byte[] body)
    {
        await sending.WaitAsync();
        try
        {
            await SendRawAsync(Tagged(type, sequence, body));
        }
        finally
        {
            sending.Release();
        }
    }

    /// <summary>The next frame's bytes, with its tag in a tagged session.</summary>
    public byte[] Tagged(FrameType type, uint sequence, byte[] body)
    {
        var bytes = new byte[ProtocolConstants.FrameBytes(body.Length, IsTagged)];
        FrameWriter.Write(bytes, type, sequence, body, fromGateway);
        return bytes;
    }

    public async Task SendRawAsync(byte[] bytes)
    {
        int step = SendsSingleBytes ? 1 : bytes.Length;
        for (int at = 0; at < bytes.Length; at += step)
            await Guard.Limit(stream.WriteAsync(bytes.AsMemory(at, step)).AsTask());
    }

    /// <summary>Closes the gateway's side and lets the device read what was sent.</summary>
    public void EndSending() => socket.Shutdown(SocketShutdown.Send);

    /// <summary>Breaks the connection: what is on its way is lost.</summary>
    public void Reset()
    {
        socket.LingerState = new LingerOption(true, 0);
        socket.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        await stream.DisposeAsync();
        sending.Dispose();
        fromDevice?.Dispose();
        fromGateway?.Dispose();
    }

    private bool TryTake(out ScriptedFrame? taken)
    {
        taken = null;
        FrameReadResult result = FrameReader.Read(input.AsSpan(start, end - start), out Frame frame);
        if (result == FrameReadResult.NeedMoreData)
            return false;
        if (result != FrameReadResult.Frame || frame.Header.IsTagged != IsTagged || fromDevice?.Verify(frame) == false)
            throw new InvalidDataException($"the device sent a bad frame: {result}");
        taken = new ScriptedFrame(frame.Header.Type, frame.Header.Sequence, frame.Body.ToArray());
        start += frame.Bytes.Length;
        return true;
    }

    private async Task<int> ReadAsync(Memory<byte> room)
    {
        try
        {
            return await Guard.Limit(stream.ReadAsync(room).AsTask());
        }
        catch (Exception closed) when (closed is IOException or ObjectDisposedException)
        {
            return 0;
        }
    }
}

/// <summary>Lets a test that hangs fail.</summary>
public static class Guard
{
    public static readonly TimeSpan Longest = TimeSpan.FromSeconds(30);

    public static Task<T> Limit<T>(Task<T> task) => task.WaitAsync(Longest);

    public static Task Limit(Task task) => task.WaitAsync(Longest);
}
