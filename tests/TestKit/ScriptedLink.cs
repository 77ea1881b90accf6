using System.Buffers.Binary;
using System.Net.Security;
using System.Net.Sockets;
using System.Text;

namespace IotTcpGateway.TestKit;

/// <summary>Limits that a CONNACK tells; what is null is left out.</summary>
public sealed record ConnAckTerms(
    ushort? ReceiveMaximum = null,
    uint? MaximumPacketSize = null,
    ushort? ServerKeepAlive = null,
    byte? MaximumQos = null,
    bool? WildcardSubscriptions = null,
    string? ReasonString = null);

/// <summary>A CONNECT as it was received.</summary>
public sealed record ReceivedConnect(
    byte Level,
    bool IsCleanStart,
    string ClientId,
    ushort KeepAliveSeconds,
    uint MaximumPacketSize,
    string WillTopic,
    string WillPayload,
    bool IsWillRetained,
    int WillQos,
    string? Username,
    string? Password);

/// <summary>A PUBLISH as it was received.</summary>
public sealed record ReceivedPublish(string Topic, byte[] Payload, int Qos, bool IsRetained, ushort Id)
{
    /// <summary>User properties in order, as name=value.</summary>
    public List<string> UserProperties { get; } = [];

    /// <summary>Correlation data; null for none.</summary>
    public byte[]? CorrelationData { get; set; }

    /// <summary>The payload as text.</summary>
    public string Text => Encoding.UTF8.GetString(Payload);
}

/// <summary>One connection of a <see cref="ScriptedBroker"/>.</summary>
public sealed class ScriptedLink(Socket socket, Stream stream) : IDisposable
{
    private const int Connect = 1;
    private const int Publish = 3;
    private const int PubAck = 4;
    private const int Subscribe = 8;
    private const int PingRequest = 12;
    private const int Disconnect = 14;

    private readonly BufferedStream input = new(stream, 64 * 1024);
    private readonly SemaphoreSlim writing = new(1);

    /// <summary>Whether the link speaks MQTT 5; known after CONNECT.</summary>
    public bool IsVersion5 { get; private set; }

    /// <summary>Whether PINGREQ is answered.</summary>
    public bool AnswersPings { get; set; } = true;

    /// <summary>What SUBSCRIBE is answered with; null for nothing.</summary>
    public byte? SubAckCode { get; set; } = 1;

    /// <summary>Whether the connection is closed when SUBSCRIBE comes.</summary>
    public bool ClosesOnSubscribe { get; set; }

    /// <summary>Filters subscribed so far.</summary>
    public List<string> Filters { get; } = [];

    /// <summary>PINGREQs seen so far.</summary>
    public int Pings { get; private set; }

    /// <summary>PUBACKs seen so far.</summary>
    public int PubAcks { get; private set; }

    /// <summary>Whether DISCONNECT came before the end.</summary>
    public bool HasDisconnected { get; private set; }

    /// <summary>The client's TLS certificate; null for none.</summary>
    public string? ClientCertificateSubject => (stream as SslStream)?.RemoteCertificate?.Subject;

    /// <summary>Reads CONNECT.</summary>
    public async Task<ReceivedConnect> ReceiveConnectAsync()
    {
        (int type, _, byte[] body) = await ReadAsync() ?? throw new EndOfStreamException("no CONNECT");
        if (type != Connect)
            throw new InvalidDataException($"packet {type} instead of CONNECT");
        var reader = new Reader(body);
        reader.Text();
        byte level = reader.U8();
        IsVersion5 = level == 5;
        byte flags = reader.U8();
        ushort keepAlive = reader.U16();
        uint packetMax = 0;
        if (IsVersion5)
            reader.Properties((id, r) => packetMax = id == 0x27 ? r.U32() : r.Skip(id));
        string clientId = reader.Text();
        string willTopic = "", willPayload = "";
        if ((flags & 4) != 0)
        {
            if (IsVersion5)
                reader.Properties((id, r) => r.Skip(id));
            willTopic = reader.Text();
            willPayload = reader.Text();
        }

        return new ReceivedConnect(
            level,
            (flags & 2) != 0,
            clientId,
            keepAlive,
            packetMax,
            willTopic,
            willPayload,
            (flags & 0x20) != 0,
            (flags >> 3) & 3,
            (flags & 0x80) != 0 ? reader.Text() : null,
            (flags & 0x40) != 0 ? reader.Text() : null);
    }

    /// <summary>Sends CONNACK.</summary>
    public Task ConnAckAsync(byte code, ConnAckTerms? terms = null)
    {
        if (!IsVersion5)
            return SendAsync([0x20, 2, 0, code]);
        var properties = new List<byte>();
        if (terms?.ReceiveMaximum is { } receive)
            properties.AddRange([0x21, (byte)(receive >> 8), (byte)receive]);
        if (terms?.MaximumPacketSize is { } size)
            properties.AddRange([0x27, (byte)(size >> 24), (byte)(size >> 16), (byte)(size >> 8), (byte)size]);
        if (terms?.ServerKeepAlive is { } seconds)
            properties.AddRange([0x13, (byte)(seconds >> 8), (byte)seconds]);
        if (terms?.MaximumQos is { } qos)
            properties.AddRange([0x24, qos]);
        if (terms?.WildcardSubscriptions is { } wildcards)
            properties.AddRange([0x28, wildcards ? (byte)1 : (byte)0]);
        if (terms?.ReasonString is { } reason)
            properties.AddRange([0x1F, .. TextBytes(reason)]);
        return SendAsync(Packet(0x20, [0, code, (byte)properties.Count, .. properties]));
    }

    /// <summary>
    /// The next PUBLISH; null when the client has closed. Pings and subscriptions before it are answered as set.
    /// </summary>
    public async Task<ReceivedPublish?> TryReceivePublishAsync()
    {
        while (await ReadAsync() is var (type, flags, body))
        {
            if (type == Publish)
                return ReadPublish(flags, body);
            if (type == Subscribe && ClosesOnSubscribe)
            {
                Close();
                return null;
            }

            try
            {
                await AnswerAsync(type, body);
            }
            catch (IOException)
            {
                return null;
            }
        }

        return null;
    }

    /// <summary>The next PUBLISH.</summary>
    public async Task<ReceivedPublish> ReceivePublishAsync() =>
        await TryReceivePublishAsync() ?? throw new EndOfStreamException("the client closed");

    /// <summary>Reads on until the client closes.</summary>
    public async Task WaitForEndAsync()
    {
        while (await TryReceivePublishAsync() is not null)
        {
        }
    }

    /// <summary>Confirms, or refuses, a message.</summary>
    public Task PubAckAsync(ReceivedPublish message, byte code = 0) => PubAckAsync(message.Id, code);

    /// <summary>Confirms, or refuses, a message.</summary>
    public Task PubAckAsync(ushort id, byte code = 0) => code == 0
        ? SendAsync([0x40, 2, (byte)(id >> 8), (byte)id])
        : SendAsync([0x40, 4, (byte)(id >> 8), (byte)id, code, 0]);

    /// <summary>
    /// Receives and confirms every message, until the client closes or the predicate says that it was the last.
    /// </summary>
    public async Task<List<ReceivedPublish>> ServeAsync(Func<ReceivedPublish, bool> isLast)
    {
        var received = new List<ReceivedPublish>();
        while (await TryReceivePublishAsync() is { } message)
        {
            received.Add(message);
            if (message.Qos > 0)
                await PubAckAsync(message);
            if (isLast(message))
                break;
        }

        return received;
    }

    /// <summary>Publishes to the client.</summary>
    public Task PublishAsync(
        string topic, byte[] payload, int qos = 0, bool isRetained = false, string? responseTopic = null, byte[]? correlation = null)
    {
        var properties = new List<byte>();
        if (responseTopic is not null)
            properties.AddRange([0x08, .. TextBytes(responseTopic)]);
        if (correlation is not null)
            properties.AddRange([0x09, (byte)(correlation.Length >> 8), (byte)correlation.Length, .. correlation]);
        var body = new List<byte>(TextBytes(topic));
        if (qos > 0)
            body.AddRange([0, 7]);
        if (IsVersion5)
        {
            body.AddRange(LengthBytes(properties.Count));
            body.AddRange(properties);
        }

        body.AddRange(payload);
        return SendAsync(Packet((byte)(0x30 | (qos << 1) | (isRetained ? 1 : 0)), [.. body]));
    }

    /// <summary>Sends DISCONNECT with a reason (MQTT 5) and closes.</summary>
    public async Task DisconnectAsync(byte reason, string? text = null)
    {
        byte[] properties = text is null ? [] : [0x1F, .. TextBytes(text)];
        await SendAsync(Packet(0xE0, [reason, .. LengthBytes(properties.Length), .. properties]));
        Close();
    }

    /// <summary>Sends bytes as they are.</summary>
    public async Task SendAsync(byte[] bytes)
    {
        await writing.WaitAsync();
        try
        {
            await stream.WriteAsync(bytes);
        }
        finally
        {
            writing.Release();
        }
    }

    /// <summary>Closes the connection in an orderly way.</summary>
    public void Close()
    {
        try
        {
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (SocketException)
        {
            // The other side was first.
        }

        stream.Dispose();
    }

    /// <summary>Resets the connection.</summary>
    public void Abort()
    {
        socket.LingerState = new LingerOption(true, 0);
        socket.Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        stream.Dispose();
        input.Dispose();
        writing.Dispose();
    }

    private async Task AnswerAsync(int type, byte[] body)
    {
        switch (type)
        {
            case PingRequest:
                Pings++;
                if (AnswersPings)
                    await SendAsync([0xD0, 0]);
                break;
            case Subscribe:
                await AnswerSubscribeAsync(body);
                break;
            case Disconnect:
                HasDisconnected = true;
                break;
            case PubAck:
                PubAcks++;
                break;
            default:
                throw new InvalidDataException($"packet {type}");
        }
    }

    private Task AnswerSubscribeAsync(byte[] body)
    {
        var reader = new Reader(body);
        ushort id = reader.U16();
        if (IsVersion5)
            reader.Properties((property, r) => r.Skip(property));
        Filters.Add(reader.Text());
        if (SubAckCode is not { } code)
            return Task.CompletedTask;
        byte[] properties = IsVersion5 ? [0] : [];
        return SendAsync(Packet(0x90, [(byte)(id >> 8), (byte)id, .. properties, code]));
    }

    private ReceivedPublish ReadPublish(int flags, byte[] body)
    {
        var reader = new Reader(body);
        string topic = reader.Text();
        int qos = (flags >> 1) & 3;
        ushort id = qos > 0 ? reader.U16() : (ushort)0;
        var userProperties = new List<string>();
        byte[]? correlation = null;
        if (IsVersion5)
        {
            reader.Properties((property, r) =>
            {
                switch (property)
                {
                    case 0x26:
                        userProperties.Add($"{r.Text()}={r.Text()}");
                        return 0;
                    case 0x09:
                        correlation = r.Binary();
                        return 0;
                    default:
                        return r.Skip(property);
                }
            });
        }

        var message = new ReceivedPublish(topic, reader.Rest(), qos, (flags & 1) != 0, id) { CorrelationData = correlation };
        message.UserProperties.AddRange(userProperties);
        return message;
    }

    private async Task<(int Type, int Flags, byte[] Body)?> ReadAsync()
    {
        try
        {
            byte[] one = new byte[1];
            if (await input.ReadAsync(one) == 0)
                return null;
            byte head = one[0];
            int length = 0;
            int shift = 0;
            do
            {
                await input.ReadExactlyAsync(one);
                length |= (one[0] & 0x7F) << shift;
                shift += 7;
            }
            while ((one[0] & 0x80) != 0);
            byte[] body = new byte[length];
            await input.ReadExactlyAsync(body);
            return (head >> 4, head & 15, body);
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            return null;
        }
    }

    private static byte[] Packet(byte head, byte[] body) => [head, .. LengthBytes(body.Length), .. body];

    private static byte[] LengthBytes(int length)
    {
        var bytes = new List<byte>();
        do
        {
            byte low = (byte)(length & 0x7F);
            length >>= 7;
            bytes.Add(length > 0 ? (byte)(low | 0x80) : low);
        }
        while (length > 0);
        return [.. bytes];
    }

    private static byte[] TextBytes(string text)
    {
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        return [(byte)(utf8.Length >> 8), (byte)utf8.Length, .. utf8];
    }

    private sealed class Reader(byte[] body)
    {
        private int at;

        public byte U8() => body[at++];

        public ushort U16()
        {
            ushort value = BinaryPrimitives.ReadUInt16BigEndian(body.AsSpan(at));
            at += 2;
            return value;
        }

        public uint U32()
        {
            uint value = BinaryPrimitives.ReadUInt32BigEndian(body.AsSpan(at));
            at += 4;
            return value;
        }

        public byte[] Binary()
        {
            int length = U16();
            at += length;
            return body[(at - length)..at];
        }

        public string Text() => Encoding.UTF8.GetString(Binary());

        public byte[] Rest() => body[at..];

        public void Properties(Func<int, Reader, uint> read)
        {
            int length = 0;
            int shift = 0;
            byte next;
            do
            {
                next = U8();
                length |= (next & 0x7F) << shift;
                shift += 7;
            }
            while ((next & 0x80) != 0);
            int end = at + length;
            while (at < end)
                read(U8(), this);
        }

        // MQTT 5, section 2.2.2.2: the properties' types by their ids.
        public uint Skip(int id)
        {
            switch (id)
            {
                case 0x01 or 0x17 or 0x19 or 0x24 or 0x25 or 0x28 or 0x29 or 0x2A:
                    U8();
                    break;
                case 0x13 or 0x21 or 0x22 or 0x23:
                    U16();
                    break;
                case 0x02 or 0x11 or 0x18 or 0x27:
                    U32();
                    break;
                case 0x26:
                    Binary();
                    Binary();
                    break;
                case 0x0B:
                    while ((U8() & 0x80) != 0)
                    {
                    }

                    break;
                default:
                    Binary();
                    break;
            }

            return 0;
        }
    }
}
