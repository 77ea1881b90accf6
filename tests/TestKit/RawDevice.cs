using System.Buffers.Binary;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.TestKit;

/// <summary>A frame that the gateway sent; its checksum, and its tag in a tagged session, were right.</summary>
public sealed record ReceivedFrame(FrameType Type, uint Sequence, byte[] Body)
{
    /// <summary>Window of an ACK.</summary>
    public ushort Window => BinaryPrimitives.ReadUInt16LittleEndian(Body);

    /// <summary>Reason of a BYE, NACK or REFUSE.</summary>
    public byte Reason => Body[0];

    /// <summary>Text of a NACK or REFUSE.</summary>
    public string Text => Encoding.UTF8.GetString(Body.AsSpan(Type == FrameType.Refuse ? 3 : 1));
}

/// <summary>What WELCOME said.</summary>
public sealed record WelcomeReceived(
    long GatewayTime, uint LastSafe, ushort Window, ushort LargestBody, ushort IdleTimeoutSeconds, bool Tags);

/// <summary>
/// A device that does exactly what a test says and nothing by itself, over a real socket. It speaks the protocol's
/// frames or sends any bytes; every wait ends after a limit that only a hang reaches.
/// </summary>
public sealed class RawDevice : IDisposable
{
    private static readonly TimeSpan HangGuard = TimeSpan.FromSeconds(30);

    private readonly Socket socket;
    private readonly byte[] buffer = new byte[64 * 1024];
    private SslStream? tls;
    private int filled;
    private FrameTagger? outgoing;
    private FrameTagger? incoming;
    private byte[] hello = [];

    private RawDevice(Socket socket) => this.socket = socket;

    /// <summary>What WELCOME said, once it was read by one of the handshakes here.</summary>
    public WelcomeReceived? Welcome { get; private set; }

    /// <summary>Whether the connection ended by a reset.</summary>
    public bool WasReset { get; private set; }

    /// <summary>Bytes read ahead or waiting in the kernel.</summary>
    public bool HasBytes => filled > 0 || socket.Available > 0;

    /// <summary>Connects and sends nothing.</summary>
    /// <param name="endpoint">Where the gateway listens.</param>
    /// <param name="from">Local address, to appear as another peer; null for any.</param>
    /// <param name="receiveBufferBytes">Of the kernel; small for a device that does not take what it is sent.</param>
    public static async Task<RawDevice> ConnectAsync(
        IPEndPoint endpoint, IPAddress? from = null, int receiveBufferBytes = 0)
    {
        var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        if (receiveBufferBytes > 0)
            socket.ReceiveBufferSize = receiveBufferBytes;
        if (from is not null)
            socket.Bind(new IPEndPoint(from, 0));
        await socket.ConnectAsync(endpoint).WaitAsync(HangGuard);
        return new RawDevice(socket);
    }

    /// <summary>Connects and comes through TLS; whatever certificate the gateway shows is taken.</summary>
    public static async Task<RawDevice> ConnectTlsAsync(
        IPEndPoint endpoint, X509Certificate2? certificate = null, SslProtocols protocols = SslProtocols.None,
        X509Certificate2Collection? intermediates = null)
    {
        RawDevice device = await ConnectAsync(endpoint);
        try
        {
            await device.BeginTlsAsync(certificate, protocols, intermediates);
        }
        catch
        {
            device.Dispose();
            throw;
        }

        return device;
    }

    /// <summary>Connects and comes to WELCOME with authentication none.</summary>
    public static async Task<RawDevice> OpenAsync(
        IPEndPoint endpoint, string id, uint boot = 1, uint highestUsed = 0, IPAddress? from = null)
    {
        RawDevice device = await ConnectAsync(endpoint, from);
        await device.SendHelloAsync(id, boot, highestUsed);
        device.TakeWelcome(await device.ExpectAsync(FrameType.Welcome));
        return device;
    }

    /// <summary>Connects and comes to WELCOME with HMAC; checks the gateway's proof.</summary>
    public static async Task<RawDevice> OpenHmacAsync(
        IPEndPoint endpoint, string id, byte[] key, uint boot = 1, uint highestUsed = 0, bool tags = false,
        IPAddress? from = null)
    {
        RawDevice device = await ConnectAsync(endpoint, from);
        await device.OpenHmacAsync(id, key, boot, highestUsed, tags);
        return device;
    }

    /// <summary>A body of DATA: base time 0 and one i32.</summary>
    public static byte[] DataBody(int value = 42, int paddingBytes = 0, ushort channel = 1)
    {
        var body = new byte[64 + paddingBytes];
        var writer = new DataWriter(body, baseTime: 0);
        writer.Add(channel, 0, value);
        if (paddingBytes > 0)
            writer.AddBytes(2, 0, new byte[paddingBytes]);
        return body[..writer.Written];
    }

    /// <summary>A frame without a tag.</summary>
    public static byte[] FrameOf(FrameType type, uint sequence, ReadOnlySpan<byte> body)
    {
        var frame = new byte[ProtocolConstants.FrameBytes(body.Length, tagged: true)];
        return frame[..FrameWriter.Write(frame, type, sequence, body)];
    }

    /// <summary>The certificate that the gateway has shown.</summary>
    public X509Certificate2? GatewayCertificate => (X509Certificate2?)tls?.RemoteCertificate;

    /// <summary>The version of TLS in use.</summary>
    public SslProtocols TlsVersion => tls?.SslProtocol ?? SslProtocols.None;

    /// <summary>Comes through TLS on a connection that has sent nothing yet.</summary>
    public async Task BeginTlsAsync(
        X509Certificate2? certificate = null, SslProtocols protocols = SslProtocols.None,
        X509Certificate2Collection? intermediates = null)
    {
        var stream = new SslStream(new NetworkStream(socket, ownsSocket: false));
        await stream.AuthenticateAsClientAsync(new SslClientAuthenticationOptions
        {
            TargetHost = "localhost",
            EnabledSslProtocols = protocols,
            ClientCertificateContext = certificate is null
                ? null
                : SslStreamCertificateContext.Create(certificate, intermediates, offline: true),
            // Whom the gateway shows itself as is looked at by the test.
            RemoteCertificateValidationCallback = (_, shown, _, _) => shown is not null,
        }).WaitAsync(HangGuard);
        tls = stream;
    }

    /// <summary>Comes to WELCOME with HMAC on a connection that is there; checks the gateway's proof.</summary>
    public async Task OpenHmacAsync(string id, byte[] key, uint boot = 1, uint highestUsed = 0, bool tags = false)
    {
        byte[] nonce = await SendProofAsync(id, key, boot, highestUsed, tags);
        ReceivedFrame welcome = await ExpectAsync(FrameType.Welcome);
        var proof = new byte[ProtocolConstants.ProofBytes];
        int before = welcome.Body.Length - proof.Length;
        Proofs.Gateway(key, hello, nonce, welcome.Body.AsSpan(0, before), proof);
        if (!Proofs.AreEqual(proof, welcome.Body.AsSpan(before)))
            throw new InvalidOperationException("the gateway's proof is wrong");
        TakeWelcome(welcome);
        if (Welcome!.Tags)
            BeginTags(key, nonce);
    }

    /// <summary>Comes to WELCOME on a connection that is there, with whatever mode.</summary>
    public async Task OpenAsync(string id, AuthenticationMode mode, uint boot = 1)
    {
        await SendHelloAsync(id, boot, mode: mode);
        TakeWelcome(await ExpectAsync(FrameType.Welcome));
    }

    /// <summary>Sends HELLO, right or wrong.</summary>
    public Task SendHelloAsync(
        string id, uint boot = 1, uint highestUsed = 0, AuthenticationMode mode = AuthenticationMode.None,
        Features features = Features.None)
    {
        // By hand: the library's writer refuses to write what no gateway takes.
        byte[] idBytes = Encoding.UTF8.GetBytes(id);
        hello =
        [
            (byte)mode, (byte)features, .. BitConverter.GetBytes(boot), .. BitConverter.GetBytes(highestUsed),
            .. RandomNumberGenerator.GetBytes(ProtocolConstants.NonceBytes), (byte)idBytes.Length, .. idBytes, 3, .. "1.0"u8,
        ];
        return SendAsync(FrameType.Hello, 0, hello);
    }

    /// <summary>HELLO, CHALLENGE, AUTH; returns the gateway's nonce.</summary>
    public async Task<byte[]> SendProofAsync(
        string id, byte[] key, uint boot = 1, uint highestUsed = 0, bool tags = false)
    {
        await SendHelloAsync(
            id, boot, highestUsed, AuthenticationMode.Hmac, tags ? Features.TaggedFrames : Features.None);
        byte[] nonce = (await ExpectAsync(FrameType.Challenge)).Body;
        var proof = new byte[ProtocolConstants.ProofBytes];
        Proofs.Device(key, hello, nonce, proof);
        await SendAsync(FrameType.Auth, 0, proof);
        return nonce;
    }

    /// <summary>Sends a frame, tagged if the session is.</summary>
    public Task SendAsync(FrameType type, uint sequence, ReadOnlyMemory<byte> body)
    {
        var frame = new byte[ProtocolConstants.FrameBytes(body.Length, tagged: true)];
        return SendAsync(frame.AsMemory(0, FrameWriter.Write(frame, type, sequence, body.Span, outgoing)));
    }

    /// <summary>Sends DATA with one value.</summary>
    public Task SendDataAsync(uint sequence, int value = 42, ushort channel = 1) =>
        SendAsync(FrameType.Data, sequence, DataBody(value, channel: channel));

    /// <summary>Sends DESCRIBE of channels with i32 and no unit.</summary>
    public Task DescribeAsync(params (ushort Channel, string Name)[] channels)
    {
        List<byte> body = [(byte)channels.Length];
        foreach ((ushort channel, string name) in channels)
        {
            byte[] nameBytes = Encoding.UTF8.GetBytes(name);
            body.AddRange([.. BitConverter.GetBytes(channel), (byte)DataType.I32, (byte)nameBytes.Length, .. nameBytes, 0]);
        }

        return SendAsync(FrameType.Describe, 0, body.ToArray());
    }

    /// <summary>Sends any bytes.</summary>
    public async Task SendAsync(ReadOnlyMemory<byte> bytes)
    {
        if (tls is not null)
        {
            await tls.WriteAsync(bytes).AsTask().WaitAsync(HangGuard);
            return;
        }

        while (bytes.Length > 0)
        {
            int sent = await socket.SendAsync(bytes).AsTask().WaitAsync(HangGuard);
            bytes = bytes[sent..];
        }
    }

    /// <summary>Tells the gateway that nothing more comes.</summary>
    public void HalfClose() => socket.Shutdown(SocketShutdown.Send);

    /// <summary>The next frame; null when the gateway has closed.</summary>
    public async Task<ReceivedFrame?> ReadAsync()
    {
        while (true)
        {
            FrameReadResult result = FrameReader.Read(buffer.AsSpan(0, filled), out Frame frame);
            if (result == FrameReadResult.Frame)
                return Take(frame);
            if (result != FrameReadResult.NeedMoreData)
                throw new InvalidOperationException($"the gateway sent a bad frame: {result}");
            int received = await ReceiveAsync();
            if (received == 0)
                return filled == 0 ? null : throw new InvalidOperationException("the gateway closed within a frame");
            filled += received;
        }
    }

    /// <summary>The next frame, which has to be of this type.</summary>
    public async Task<ReceivedFrame> ExpectAsync(FrameType type)
    {
        ReceivedFrame frame = await ReadAsync() ?? throw new InvalidOperationException($"closed instead of {type}");
        return frame.Type == type
            ? frame
            : throw new InvalidOperationException(
                $"{frame.Type} {frame.Sequence} {Convert.ToHexString(frame.Body)} instead of {type}");
    }

    /// <summary>
    /// The ACK of this sequence; ACKs of lower ones before it are passed over, since ACKs may be merged.
    /// </summary>
    public async Task<ReceivedFrame> ExpectAckAsync(uint sequence)
    {
        while (true)
        {
            ReceivedFrame ack = await ExpectAsync(FrameType.Ack);
            if (ack.Sequence == sequence)
                return ack;
            if (ack.Sequence > sequence)
                throw new InvalidOperationException($"ACK {ack.Sequence} instead of {sequence}");
        }
    }

    /// <summary>The next frame has to be a BYE of this reason, and then the end.</summary>
    public async Task ExpectByeAsync(ByeReason reason)
    {
        ReceivedFrame bye = await ExpectAsync(FrameType.Bye);
        if (bye.Reason != (byte)reason)
            throw new InvalidOperationException($"BYE {bye.Reason} instead of {reason}");
        await ExpectEndAsync();
    }

    /// <summary>The next frame has to be a REFUSE of this reason, and then the end.</summary>
    public async Task<ReceivedFrame> ExpectRefuseAsync(RefuseReason reason)
    {
        ReceivedFrame refuse = await ExpectAsync(FrameType.Refuse);
        if (refuse.Reason != (byte)reason)
            throw new InvalidOperationException($"REFUSE {refuse.Reason} {refuse.Text} instead of {reason}");
        await ExpectEndAsync();
        return refuse;
    }

    /// <summary>The gateway has to have closed, in order, without a further frame.</summary>
    public async Task ExpectEndAsync()
    {
        if (await ReadAsync() is { } frame)
            throw new InvalidOperationException($"{frame.Type} instead of the end");
        if (WasReset)
            throw new InvalidOperationException("a reset instead of an orderly end");
    }

    /// <summary>PING, then everything up to its PONG: what was sent before has been worked off then.</summary>
    public async Task<IReadOnlyList<ReceivedFrame>> PingAsync(uint sequence = 77)
    {
        await SendAsync(FrameType.Ping, sequence, ReadOnlyMemory<byte>.Empty);
        List<ReceivedFrame> before = [];
        while (true)
        {
            ReceivedFrame frame = await ReadAsync() ?? throw new InvalidOperationException("closed instead of PONG");
            if (frame.Type == FrameType.Pong && frame.Sequence == sequence)
                return before;
            before.Add(frame);
        }
    }

    /// <summary>Ends the connection by a reset.</summary>
    public void Reset()
    {
        socket.LingerState = new LingerOption(true, 0);
        socket.Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        socket.Dispose();
        tls?.Dispose();
        outgoing?.Dispose();
        incoming?.Dispose();
    }

    private async Task<int> ReceiveAsync()
    {
        try
        {
            return tls is null
                ? await socket.ReceiveAsync(buffer.AsMemory(filled)).AsTask().WaitAsync(HangGuard)
                : await tls.ReadAsync(buffer.AsMemory(filled)).AsTask().WaitAsync(HangGuard);
        }
        catch (Exception e) when (e is SocketException or IOException)
        {
            WasReset = true;
            return 0;
        }
    }

    private ReceivedFrame Take(in Frame frame)
    {
        if (incoming is not null && !(frame.Header.IsTagged && incoming.Verify(frame)))
            throw new InvalidOperationException($"the tag of {frame.Header.Type} is wrong");
        if (incoming is null && frame.Header.IsTagged)
            throw new InvalidOperationException($"{frame.Header.Type} is tagged in an untagged session");
        var received = new ReceivedFrame(frame.Header.Type, frame.Header.Sequence, frame.Body.ToArray());
        int bytes = frame.Bytes.Length;
        buffer.AsSpan(bytes, filled - bytes).CopyTo(buffer);
        filled -= bytes;
        return received;
    }

    private void TakeWelcome(ReceivedFrame frame)
    {
        if (!IotTcpGateway.Protocol.Welcome.TryRead(frame.Body, out Welcome welcome))
            throw new InvalidOperationException("malformed WELCOME");
        Welcome = new WelcomeReceived(
            welcome.GatewayTime,
            welcome.LastSafeSequence,
            welcome.Window,
            welcome.LargestBody,
            welcome.IdleTimeoutSeconds,
            welcome.FeaturesGranted.HasFlag(Features.TaggedFrames));
    }

    private void BeginTags(byte[] key, byte[] nonce)
    {
        Span<byte> sessionKey = stackalloc byte[ProtocolConstants.ProofBytes];
        Proofs.SessionKey(key, hello, nonce, sessionKey);
        outgoing = new FrameTagger(sessionKey, FrameDirection.FromDevice);
        incoming = new FrameTagger(sessionKey, FrameDirection.FromGateway);
    }
}
