using System.Net.Sockets;

using IotTcpGateway.Fuzz.Protocol;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Fuzz.Ingest;

/// <summary>
/// One connection of a device that sends what the fuzzer likes, right or wrong, and judges every byte that comes back
/// by what it has sent.
/// </summary>
internal sealed class FuzzDevice : IDisposable
{
    private const int WindowMax = 4;

    private readonly SessionWorld world;
    private readonly Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
    private readonly byte[] received = new byte[64 * 1024];
    private readonly Dictionary<uint, List<byte[]>> pings = [];
    private readonly List<(uint Sequence, bool IsFresh)> sent = [];
    private readonly HashSet<uint> refused = [];
    private int filled;
    private bool isMalformed;
    private bool isSendingOver;
    private bool hasEnded;
    private bool isOver;
    private byte[]? hello;
    private byte[]? challenge;
    private byte[]? proof;
    private FrameTagger? outgoing, incoming;
    private StreamModel? stream;
    private string id = "";
    private uint boot;
    private uint acknowledged;

    public FuzzDevice(SessionWorld world)
    {
        this.world = world;
        socket.Connect(world.Endpoint);
    }

    public bool IsWelcomed => stream is not null;

    /// <summary>Whether the handshake is at the gateway's turn.</summary>
    public bool AwaitsAnswer => !isMalformed && !isSendingOver && !isOver && !IsWelcomed
        && hello is not null && (challenge is null || proof is not null);

    /// <summary>Into how many bytes what is sent is split; 0 for not at all.</summary>
    public int PieceBytes { get; set; }

    public Queue<uint> CommandNumbers { get; } = new();

    public uint NextSequence => Math.Max(stream?.HighestSent ?? 0, acknowledged) + 1;

    public void SendHello(AuthenticationMode mode, Features features, string deviceId, uint bootId, uint highestUsed)
    {
        var body = new byte[ProtocolConstants.ControlBodyBytesMax];
        int bytes = new Hello
        {
            Authentication = mode,
            Features = features,
            BootId = bootId,
            HighestUsed = highestUsed,
            DeviceNonce = new byte[ProtocolConstants.NonceBytes],
            DeviceId = System.Text.Encoding.ASCII.GetBytes(deviceId),
            Firmware = "1"u8,
        }.WriteBody(body);
        SendFrame(FrameType.Hello, 0, body.AsSpan(0, bytes));
    }

    /// <summary>The proof by a key, if there is a challenge to prove it with.</summary>
    public void SendProof(byte[] key)
    {
        Read(waitMicroseconds: 0);
        var made = new byte[ProtocolConstants.ProofBytes];
        Proofs.Device(key, hello ?? [], challenge ?? new byte[ProtocolConstants.NonceBytes], made);
        SendFrame(FrameType.Auth, 0, made);
    }

    public void SendFrame(FrameType type, uint sequence, ReadOnlySpan<byte> body, bool isRight = true)
    {
        Read(waitMicroseconds: 0);
        var frame = new byte[ProtocolConstants.FrameBytes(body.Length, tagged: true)];
        int bytes = FrameWriter.Write(frame, type, sequence, body, outgoing);
        if (!isRight)
            frame[bytes - 1] ^= 1;
        else if (!isMalformed)
            Remember(type, sequence, body);
        isMalformed |= !isRight;
        Send(frame.AsSpan(0, bytes));
    }

    /// <summary>Any bytes: nothing behind them is known to be a frame.</summary>
    public void SendRaw(ReadOnlySpan<byte> bytes)
    {
        isMalformed |= bytes.Length > 0;
        Send(bytes);
    }

    public void HalfClose()
    {
        isSendingOver = true;
        try
        {
            socket.Shutdown(SocketShutdown.Send);
        }
        catch (SocketException)
        {
            // The gateway was faster.
        }
    }

    /// <summary>Reads and judges what is there, after a wait for something to come.</summary>
    public void Read(int waitMicroseconds)
    {
        if (hasEnded || !socket.Poll(waitMicroseconds, SelectMode.SelectRead))
            return;
        do
        {
            int bytes = Receive();
            hasEnded = bytes == 0;
            filled += bytes;
            Judge();
        }
        while (!hasEnded && socket.Available > 0);
    }

    public void Dispose()
    {
        socket.Dispose();
        outgoing?.Dispose();
        incoming?.Dispose();
    }

    private int Receive()
    {
        try
        {
            return socket.Receive(received, filled, received.Length - filled, SocketFlags.None);
        }
        catch (SocketException)
        {
            return 0;
        }
    }

    private void Send(ReadOnlySpan<byte> bytes)
    {
        int piece = PieceBytes == 0 ? bytes.Length : PieceBytes;
        while (bytes.Length > 0 && !isSendingOver)
        {
            int length = Math.Min(piece, bytes.Length);
            try
            {
                socket.Send(bytes[..length]);
            }
            catch (SocketException)
            {
                isSendingOver = true;
            }

            bytes = bytes[length..];
        }
    }

    private void Remember(FrameType type, uint sequence, ReadOnlySpan<byte> body)
    {
        if (type == FrameType.Hello && hello is null && Hello.TryRead(body, out Hello read))
        {
            hello = body.ToArray();
            (id, boot) = (System.Text.Encoding.ASCII.GetString(read.DeviceId), read.BootId);
        }
        else if (type == FrameType.Auth && proof is null)
        {
            proof = body.ToArray();
        }
        else if (type == FrameType.Ping)
        {
            if (!pings.TryGetValue(sequence, out List<byte[]>? bodies))
                pings.Add(sequence, bodies = []);
            bodies.Add(body.ToArray());
        }
        else if (type == FrameType.Data && stream is not null)
        {
            bool isFresh = sequence > stream.HighestSent && DataReader.Check(body, out _) == DataFault.None;
            sent.Add((sequence, isFresh));
            stream.HighestSent = Math.Max(stream.HighestSent, sequence);
        }
        else if (type == FrameType.Data && hello is not null)
        {
            // Whether it comes before WELCOME is not known here.
            StreamModel hoped = world.StreamOf(id, boot);
            hoped.HighestSent = Math.Max(hoped.HighestSent, sequence);
            sent.Add((sequence, false));
        }
    }

    private void Judge()
    {
        int start = 0;
        FrameReadResult result;
        while ((result = FrameReader.Read(received.AsSpan(start, filled - start), out Frame frame)) == FrameReadResult.Frame)
        {
            Require.That(!isOver, $"{frame.Header.Type} after the last frame");
            Require.That(incoming is null ? !frame.Header.IsTagged : frame.Header.IsTagged && incoming.Verify(frame), "a wrong tag");
            JudgeFrame(frame.Header.Type, frame.Header.Sequence, frame.Body);
            start += frame.Bytes.Length;
        }

        Require.That(result == FrameReadResult.NeedMoreData, $"the gateway's bytes are no frame: {result}");
        received.AsSpan(start, filled - start).CopyTo(received);
        filled -= start;
        Require.That(!hasEnded || filled == 0 || isSendingOver, "the gateway closes within a frame");
    }

    private void JudgeFrame(FrameType type, uint sequence, ReadOnlySpan<byte> body)
    {
        switch (type)
        {
            case FrameType.Challenge when stream is null:
                Require.That(challenge is null && hello is not null, "a CHALLENGE that nobody asked for");
                Require.That(body.Length == ProtocolConstants.NonceBytes, "a nonce of another length");
                challenge = body.ToArray();
                break;
            case FrameType.Refuse when stream is null:
                Require.That(Refuse.TryRead(body, out _), "a malformed REFUSE");
                isOver = true;
                break;
            case FrameType.Welcome when stream is null:
                JudgeWelcome(body);
                break;
            case FrameType.Ack when stream is not null:
                JudgeAck(sequence, body);
                break;
            case FrameType.Nack when stream is not null:
                Require.That(Nack.TryRead(body, out _), "a malformed NACK");
                Require.That(sent.Exists(s => s.Sequence == sequence), $"NACK of {sequence}, which was not sent");
                Require.That(refused.Add(sequence) && sequence > acknowledged, $"NACK of {sequence}, which was settled");
                break;
            case FrameType.Pong when stream is not null:
                byte[] echo = body.ToArray();
                List<byte[]> asked = pings.GetValueOrDefault(sequence) ?? [];
                int ping = asked.FindIndex(one => one.AsSpan().SequenceEqual(echo));
                Require.That(ping >= 0, "a PONG to no PING");
                asked.RemoveAt(ping);
                break;
            case FrameType.Command when stream is not null:
                Require.That(sequence != 0 && Command.TryRead(body, out _), "a malformed COMMAND");
                CommandNumbers.Enqueue(sequence);
                break;
            case FrameType.Bye when stream is not null:
                Require.That(body.Length == 1 && Enum.IsDefined((ByeReason)body[0]), "a malformed BYE");
                isOver = true;
                break;
            default:
                Require.That(false, $"{type} is not legal now");
                break;
        }
    }

    private void JudgeWelcome(ReadOnlySpan<byte> body)
    {
        Require.That(Welcome.TryRead(body, out Welcome welcome), "a malformed WELCOME");
        Require.That(hello is not null, "a WELCOME without a HELLO");
        Hello.TryRead(hello, out Hello said);
        byte[]? key = null;
        if (said.Authentication == AuthenticationMode.None)
            Require.That(world.WasEverKeyless(id), "a device that has a key was taken at its word");
        else
            Require.That(TryFindProvenKey(out key), "somebody came in without a proof");
        Require.That(welcome.Window <= WindowMax, "a window over the limit");
        stream = world.StreamOf(id, boot);
        acknowledged = welcome.LastSafeSequence;
        stream.Acknowledged(acknowledged, world.Step);
        if (welcome.FeaturesGranted.HasFlag(Features.TaggedFrames))
            BeginTags(key!);
    }

    private bool TryFindProvenKey(out byte[]? key)
    {
        key = null;
        var expected = new byte[ProtocolConstants.ProofBytes];
        foreach (byte[]? ever in world.KeysEver.GetValueOrDefault(id) ?? [])
        {
            if (ever is null || challenge is null || proof is null)
                continue;
            Proofs.Device(ever, hello!, challenge, expected);
            if (!proof.AsSpan().SequenceEqual(expected))
                continue;
            key = ever;
            return true;
        }

        return false;
    }

    private void BeginTags(byte[] key)
    {
        Span<byte> sessionKey = stackalloc byte[ProtocolConstants.ProofBytes];
        Proofs.SessionKey(key, hello!, challenge!, sessionKey);
        outgoing = new FrameTagger(sessionKey, FrameDirection.FromDevice);
        incoming = new FrameTagger(sessionKey, FrameDirection.FromGateway);
    }

    private void JudgeAck(uint sequence, ReadOnlySpan<byte> body)
    {
        Require.That(body.Length == 2, "a malformed ACK");
        Require.That(BitConverter.ToUInt16(body) <= WindowMax, "a window over the limit");
        Require.That(sequence >= acknowledged, $"ACK {sequence} after {acknowledged}");
        acknowledged = sequence;
        stream!.Acknowledged(sequence, world.Step);
        Require.That(sequence <= stream.HighestSent || sequence == 0 || sent.Exists(s => s.Sequence == sequence), $"ACK {sequence} of what was not sent");
        CheckNothingIsSkipped(sequence);
    }

    // Frames that were right and new, sent before one that is acknowledged: they arrived too, or were refused.
    private void CheckNothingIsSkipped(uint sequence)
    {
        int last = sent.FindLastIndex(s => s.IsFresh && s.Sequence <= sequence);
        for (int i = 0; i < last; i++)
        {
            if (sent[i].IsFresh && !refused.Contains(sent[i].Sequence))
                MustHaveArrived.Add((stream!, sent[i].Sequence));
        }
    }

    /// <summary>To be looked at when all records were taken.</summary>
    public HashSet<(StreamModel Stream, uint Sequence)> MustHaveArrived { get; } = [];
}
