using System.Globalization;
using System.Text;
using System.Text.Json;

using Xunit;

namespace IotTcpGateway.Protocol.Tests;

public class VectorTests
{
    public static TheoryData<string> ValidNames => [.. Vectors.Valid.Select(v => v.Name())];

    public static TheoryData<string> InvalidNames => [.. Vectors.Invalid.Select(v => v.Name())];

    [Theory]
    [MemberData(nameof(ValidNames))]
    public void Decode_ValidVector_GivesItsFields(string name)
    {
        JsonElement vector = Vectors.Find(name);
        Assert.Equal(FrameReadResult.Frame, FrameReader.Read(vector.Hex("hex"), out Frame frame));
        Assert.Equal(vector.GetProperty("type").GetString(), frame.Header.Type.ToString().ToUpperInvariant());
        Assert.Equal(vector.GetProperty("sequence").GetUInt32(), frame.Header.Sequence);
        string expected = JsonSerializer.Serialize(vector.GetProperty("fields"));
        string got = JsonSerializer.Serialize(Decode(frame));
        Assert.True(JsonElement.DeepEquals(Parse(expected), Parse(got)), $"expected {expected}\ngot {got}");
        if (vector.TryGetProperty("sessionKey", out _))
            Assert.True(TaggerOf(vector).Verify(frame));
    }

    [Theory]
    [MemberData(nameof(ValidNames))]
    public void Encode_ValidVector_GivesItsBytes(string name)
    {
        JsonElement vector = Vectors.Find(name);
        var bytes = new byte[1024];
        int bodyBytes = Encode(vector.GetProperty("type").GetString()!, vector.GetProperty("fields"), bytes.AsSpan(12));
        FrameTagger? tagger = vector.TryGetProperty("sessionKey", out _) ? TaggerOf(vector) : null;
        var type = Enum.Parse<FrameType>(vector.GetProperty("type").GetString()!, ignoreCase: true);
        int length = FrameWriter.Finish(bytes, type, vector.GetProperty("sequence").GetUInt32(), bodyBytes, tagger);
        Assert.Equal(vector.GetProperty("hex").GetString(), Convert.ToHexStringLower(bytes.AsSpan(0, length)));
    }

    [Theory]
    [MemberData(nameof(InvalidNames))]
    public void Decode_InvalidVector_IsRefusedForItsReason(string name)
    {
        byte[] bytes = Vectors.Find(name).Hex("hex");
        FrameReadResult result = FrameReader.Read(bytes, out Frame frame);
        FrameReadResult expected = name switch
        {
            "crc-flipped" or "body-flipped" => FrameReadResult.BadChecksum,
            "magic" => FrameReadResult.BadMagic,
            "version" => FrameReadResult.BadVersion,
            "reserved-flag" => FrameReadResult.BadFlags,
            "length-16385" => FrameReadResult.BadLength,
            _ => FrameReadResult.Frame,
        };
        Assert.Equal(expected, result);
        if (result == FrameReadResult.Frame)
            Assert.False(IsAcceptable(frame, name));
    }

    [Fact]
    public void Proofs_OfTheHmacVectors_AreTheirs()
    {
        byte[] key = Vectors.Find("auth").Hex("key");
        FrameReader.Read(Vectors.Find("hello-hmac").Hex("hex"), out Frame hello);
        FrameReader.Read(Vectors.Find("challenge").Hex("hex"), out Frame challenge);
        FrameReader.Read(Vectors.Find("auth").Hex("hex"), out Frame auth);
        FrameReader.Read(Vectors.Find("welcome").Hex("hex"), out Frame welcome);
        var proof = new byte[ProtocolConstants.ProofBytes];

        Proofs.Device(key, hello.Body, challenge.Body, proof);
        Assert.True(Proofs.AreEqual(proof, auth.Body));

        Proofs.Gateway(key, hello.Body, challenge.Body, welcome.Body[..Welcome.BytesBeforeProof], proof);
        Assert.True(Proofs.AreEqual(proof, welcome.Body[Welcome.BytesBeforeProof..]));

        Proofs.SessionKey(key, hello.Body, challenge.Body, proof);
        Assert.Equal(Vectors.Find("data-tagged").Hex("sessionKey"), proof);
    }

    [Fact]
    public void Crc32C_OfTheCheckString_IsThePublishedValue() =>
        Assert.Equal(0xE3069283u, Crc32C.Compute("123456789"u8));

    private static JsonElement Parse(string json) => JsonDocument.Parse(json).RootElement;

    private static FrameTagger TaggerOf(JsonElement vector) => new(
        vector.Hex("sessionKey"),
        (FrameDirection)vector.GetProperty("direction").GetByte(),
        vector.GetProperty("counter").GetUInt64());

    private static bool IsAcceptable(in Frame frame, string name) => frame.Header.Type switch
    {
        FrameType.Hello => Hello.TryRead(frame.Body, out _),
        FrameType.Describe => DescribeReader.IsValid(frame.Body),
        FrameType.Data when name == "tag-flipped" => TaggerOf(Vectors.Find("data-tagged")).Verify(frame),
        FrameType.Data => frame.Header.Sequence != 0 && DataReader.Check(frame.Body, out _) == DataFault.None,
        _ => Enum.IsDefined(frame.Header.Type),
    };

    private static object Decode(in Frame frame)
    {
        ReadOnlySpan<byte> body = frame.Body;
        switch (frame.Header.Type)
        {
            case FrameType.Hello:
                Assert.True(Hello.TryRead(body, out Hello hello));
                return new
                {
                    authentication = (byte)hello.Authentication,
                    features = (byte)hello.Features,
                    bootId = hello.BootId,
                    highestUsed = hello.HighestUsed,
                    deviceNonce = Convert.ToHexStringLower(hello.DeviceNonce),
                    deviceId = Encoding.UTF8.GetString(hello.DeviceId),
                    firmware = Encoding.UTF8.GetString(hello.Firmware),
                };
            case FrameType.Challenge:
                return new { gatewayNonce = Convert.ToHexStringLower(body) };
            case FrameType.Auth:
                return new { deviceProof = Convert.ToHexStringLower(body) };
            case FrameType.Welcome:
                Assert.True(Welcome.TryRead(body, out Welcome welcome));
                return new
                {
                    gatewayTime = welcome.GatewayTime,
                    lastSafeSequence = welcome.LastSafeSequence,
                    window = welcome.Window,
                    largestBody = welcome.LargestBody,
                    idleTimeout = welcome.IdleTimeoutSeconds,
                    featuresGranted = (byte)welcome.FeaturesGranted,
                    gatewayProof = Convert.ToHexStringLower(welcome.GatewayProof),
                };
            case FrameType.Refuse:
                Assert.True(Refuse.TryRead(body, out Refuse refuse));
                return new
                {
                    reason = (byte)refuse.Reason,
                    retryAfter = refuse.RetryAfterSeconds,
                    text = Encoding.UTF8.GetString(refuse.Text),
                };
            case FrameType.Describe:
                return new { channels = Channels(body) };
            case FrameType.Data:
                Assert.Equal(DataFault.None, DataReader.Check(body, out _));
                var data = new DataReader(body);
                return new { baseTime = data.BaseTime, records = Records(data) };
            case FrameType.Ack:
                return new { window = BitConverter.ToUInt16(body) };
            case FrameType.Nack:
                Assert.True(Nack.TryRead(body, out Nack nack));
                return new { reason = (byte)nack.Reason, text = Encoding.UTF8.GetString(nack.Text) };
            case FrameType.Command:
                Assert.True(Command.TryRead(body, out Command command));
                return new { name = Encoding.UTF8.GetString(command.Name), payload = Convert.ToHexStringLower(command.Payload) };
            case FrameType.Result:
                Assert.True(CommandResult.TryRead(body, out CommandResult result));
                return new { status = result.Status, payload = Convert.ToHexStringLower(result.Payload) };
            case FrameType.Bye:
                return new { reason = body[0] };
            default:
                return new { body = Convert.ToHexStringLower(body) };
        }
    }

    private static List<object> Channels(ReadOnlySpan<byte> body)
    {
        Assert.True(DescribeReader.IsValid(body));
        var channels = new List<object>();
        var reader = new DescribeReader(body);
        while (reader.TryRead(out ChannelDescription c))
        {
            channels.Add(new
            {
                channel = c.Channel,
                valueType = DataTypes.Word(c.Type),
                name = Encoding.UTF8.GetString(c.Name),
                unit = Encoding.UTF8.GetString(c.Unit),
            });
        }

        return channels;
    }

    private static List<object> Records(DataReader data)
    {
        var records = new List<object>();
        while (data.TryRead(out DataRecord r))
        {
            records.Add(new
            {
                channel = r.Channel,
                valueType = DataTypes.Word(r.Type),
                offset = r.OffsetMilliseconds,
                value = ValueOf(r),
            });
        }

        return records;
    }

    private static object ValueOf(DataRecord r) => r.Type switch
    {
        DataType.Bool => r.AsBool(),
        DataType.I8 or DataType.I16 or DataType.I32 => r.AsSigned(),
        DataType.U8 or DataType.U16 or DataType.U32 => r.AsUnsigned(),
        DataType.I64 => r.AsSigned().ToString(CultureInfo.InvariantCulture),
        DataType.U64 => r.AsUnsigned().ToString(CultureInfo.InvariantCulture),
        DataType.F32 => float.IsFinite(r.AsSingle()) ? r.AsSingle() : NotFinite(r.AsSingle()),
        DataType.F64 => double.IsFinite(r.AsDouble()) ? r.AsDouble() : NotFinite(r.AsDouble()),
        DataType.Text => Encoding.UTF8.GetString(r.Value),
        _ => Convert.ToHexStringLower(r.Value),
    };

    private static string NotFinite(double value) => double.IsNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";

    private static int Encode(string type, JsonElement f, Span<byte> body)
    {
        byte[] Utf8(string property) => Encoding.UTF8.GetBytes(f.GetProperty(property).GetString()!);
        switch (type)
        {
            case "HELLO":
                return new Hello
                {
                    Authentication = (AuthenticationMode)f.GetProperty("authentication").GetByte(),
                    Features = (Features)f.GetProperty("features").GetByte(),
                    BootId = f.GetProperty("bootId").GetUInt32(),
                    HighestUsed = f.GetProperty("highestUsed").GetUInt32(),
                    DeviceNonce = f.Hex("deviceNonce"),
                    DeviceId = Utf8("deviceId"),
                    Firmware = Utf8("firmware"),
                }.WriteBody(body);
            case "WELCOME":
                return new Welcome
                {
                    GatewayTime = f.GetProperty("gatewayTime").GetInt64(),
                    LastSafeSequence = f.GetProperty("lastSafeSequence").GetUInt32(),
                    Window = f.GetProperty("window").GetUInt16(),
                    LargestBody = f.GetProperty("largestBody").GetUInt16(),
                    IdleTimeoutSeconds = f.GetProperty("idleTimeout").GetUInt16(),
                    FeaturesGranted = (Features)f.GetProperty("featuresGranted").GetByte(),
                    GatewayProof = f.Hex("gatewayProof"),
                }.WriteBody(body);
            case "REFUSE":
                return new Refuse
                {
                    Reason = (RefuseReason)f.GetProperty("reason").GetByte(),
                    RetryAfterSeconds = f.GetProperty("retryAfter").GetUInt16(),
                    Text = Utf8("text"),
                }.WriteBody(body);
            case "DESCRIBE":
                var describe = new DescribeWriter(body);
                foreach (JsonElement c in f.GetProperty("channels").EnumerateArray())
                {
                    Assert.True(describe.TryAdd(
                        c.GetProperty("channel").GetUInt16(),
                        Enum.Parse<DataType>(c.GetProperty("valueType").GetString()!, true),
                        Encoding.UTF8.GetBytes(c.GetProperty("name").GetString()!),
                        Encoding.UTF8.GetBytes(c.GetProperty("unit").GetString()!)));
                }

                return describe.Written;
            case "DATA":
                var data = new DataWriter(body, f.GetProperty("baseTime").GetInt64());
                foreach (JsonElement r in f.GetProperty("records").EnumerateArray())
                {
                    var valueType = Enum.Parse<DataType>(r.GetProperty("valueType").GetString()!, true);
                    byte[] value = ValueBytes(valueType, r.GetProperty("value"));
                    Assert.True(data.AddRaw(
                        r.GetProperty("channel").GetUInt16(), valueType, r.GetProperty("offset").GetUInt32(), value));
                }

                return data.Written;
            case "ACK":
                BitConverter.TryWriteBytes(body, f.GetProperty("window").GetUInt16());
                return sizeof(ushort);
            case "NACK":
                return new Nack { Reason = (NackReason)f.GetProperty("reason").GetByte(), Text = Utf8("text") }.WriteBody(body);
            case "COMMAND":
                return new Command { Name = Utf8("name"), Payload = f.Hex("payload") }.WriteBody(body);
            case "RESULT":
                return new CommandResult { Status = f.GetProperty("status").GetByte(), Payload = f.Hex("payload") }.WriteBody(body);
            case "BYE":
                body[0] = f.GetProperty("reason").GetByte();
                return 1;
            default:
                byte[] raw = Convert.FromHexString(f.EnumerateObject().Single().Value.GetString()!);
                raw.CopyTo(body);
                return raw.Length;
        }
    }

    private static byte[] ValueBytes(DataType type, JsonElement value) => type switch
    {
        DataType.Bool => [value.GetBoolean() ? (byte)1 : (byte)0],
        DataType.I8 => [(byte)value.GetSByte()],
        DataType.U8 => [value.GetByte()],
        DataType.I16 => BitConverter.GetBytes(value.GetInt16()),
        DataType.U16 => BitConverter.GetBytes(value.GetUInt16()),
        DataType.I32 => BitConverter.GetBytes(value.GetInt32()),
        DataType.U32 => BitConverter.GetBytes(value.GetUInt32()),
        DataType.I64 => BitConverter.GetBytes(long.Parse(value.GetString()!, CultureInfo.InvariantCulture)),
        DataType.U64 => BitConverter.GetBytes(ulong.Parse(value.GetString()!, CultureInfo.InvariantCulture)),
        DataType.F32 => value.ValueKind == JsonValueKind.String
            ? BitConverter.GetBytes(float.NegativeInfinity)
            : BitConverter.GetBytes(value.GetSingle()),
        // The vector's NaN is the positive quiet one; double.NaN is negative.
        DataType.F64 => value.ValueKind == JsonValueKind.String
            ? BitConverter.GetBytes(0x7FF8_0000_0000_0000)
            : BitConverter.GetBytes(value.GetDouble()),
        DataType.Text => Encoding.UTF8.GetBytes(value.GetString()!),
        _ => Convert.FromHexString(value.GetString()!),
    };
}
