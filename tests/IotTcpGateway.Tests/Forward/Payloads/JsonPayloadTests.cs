using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json;

using CsCheck;

using IotTcpGateway.Buffer;
using IotTcpGateway.Forward.Payloads;
using IotTcpGateway.Protocol;
using IotTcpGateway.Time;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Forward.Payloads;

public sealed class JsonPayloadTests
{
    private const long Base = 1_763_900_000_000_000;

    // Two channels of one name, one that bears the name an undescribed one would get, and levels.
    private static readonly ChannelTable Table = ChannelTable.Empty.With(
    [
        new Channel(1, DataType.F32, "temperature", "Cel"),
        new Channel(2, DataType.F32, "temperature", "Cel"),
        new Channel(3, DataType.Bool, "ch9", ""),
        new Channel(4, DataType.Text, "a/b", ""),
    ]);

    [Fact]
    public void Encode_OneTime_IsOneMessageWithoutPart() => Assert.Equal(
        ["""{"device":"pump-7","boot":287454020,"seq":2,"ts":1763900000000,"values":{"temperature":21.5,"ch7":null}}"""],
        Encode(Body(Base, (1, DataType.F32, 0, F32(21.5f)), (7, DataType.F64, 0, F64(double.NaN)))));

    [Fact]
    public void Encode_SeveralTimesOutOfOrder_NumbersThePartsInTimeOrder() => Assert.Equal(
        [
            """{"device":"pump-7","boot":287454020,"seq":2,"part":0,"ts":1763900000000,"values":{"temperature":2}}""",
            """{"device":"pump-7","boot":287454020,"seq":2,"part":1,"ts":1763900000005,"values":{"temperature":1}}""",
        ],
        Encode(Body(Base, (1, DataType.U8, 5, [1]), (1, DataType.U8, 0, [2]))));

    [Fact]
    public void Encode_NameAlreadyInTheMessage_BeginsTheNextOne() => Assert.Equal(
        [
            """{"device":"pump-7","boot":287454020,"seq":2,"part":0,"ts":1763900000000,"values":{"temperature":1}}""",
            """{"device":"pump-7","boot":287454020,"seq":2,"part":1,"ts":1763900000000,"values":{"temperature":2,"ch9":3}}""",
            """{"device":"pump-7","boot":287454020,"seq":2,"part":2,"ts":1763900000000,"values":{"ch9":true,"temperature":4}}""",
        ],
        Encode(Body(
            Base,
            (1, DataType.U8, 0, [1]),
            (2, DataType.U8, 0, [2]),
            (9, DataType.U8, 0, [3]),
            (3, DataType.Bool, 0, [1]),
            (1, DataType.U8, 0, [4]))));

    [Fact]
    public void Encode_PerChannel_NumbersAllMessagesOfTheFrame()
    {
        byte[] body = Body(Base, (1, DataType.U8, 1, [1]), (4, DataType.Text, 0, [(byte)'x']), (7, DataType.U8, 1, [3]));
        var sink = new Sink();
        using var payload = new JsonPayload(Clock(new FakeTimeProvider(), true), isPerChannel: true);
        Assert.Equal(3, payload.Encode(Record(body, default), sink));
        Assert.Equal(["a/b", "temperature", "ch7"], sink.Channels);
        Assert.Equal([0, 1, 2], sink.Messages.Select(m => JsonDocument.Parse(m).RootElement.GetProperty("part").GetInt32()));
    }

    [Theory]
    [InlineData(Base, "1763900000000")]
    [InlineData(Base + 1, "1763900000000.001")]
    [InlineData(Base + 10, "1763900000000.01")]
    [InlineData(Base + 500, "1763900000000.5")]
    [InlineData(-1, "-0.001")]
    [InlineData(-1_500, "-1.5")]
    [InlineData(-1_000, "-1")]
    [InlineData(1, "0.001")]
    [InlineData(long.MinValue, "-9223372036854775.808")]
    [InlineData(long.MaxValue, "9223372036854775.807")]
    public void Encode_BaseTime_IsMillisecondsWithThreeDecimalsAtMost(long baseTime, string expected) =>
        Assert.Contains($"\"ts\":{expected},\"values\"", Encode(Body(baseTime, (1, DataType.U8, 0, [1])))[0], StringComparison.Ordinal);

    [Theory]
    [InlineData(21.1f, "21.1")]
    [InlineData(21f, "21")]
    [InlineData(0.1f, "0.1")]
    [InlineData(16777216f, "16777216")]
    [InlineData(float.MaxValue, "3.4028235E+38")]
    [InlineData(float.Epsilon, "1E-45")]
    [InlineData(float.NaN, "null")]
    [InlineData(float.PositiveInfinity, "null")]
    [InlineData(float.NegativeInfinity, "null")]
    public void Encode_F32_IsTheShortestTextOfItsOwnWidth(float value, string expected) =>
        Assert.EndsWith($"\"temperature\":{expected}}}}}", Encode(Body(Base, (1, DataType.F32, 0, F32(value))))[0], StringComparison.Ordinal);

    [Fact]
    public void Encode_WideIntegers_KeepAllTheirDigits()
    {
        string message = Encode(Body(
            Base,
            (1, DataType.I64, 0, Bytes(long.MinValue)),
            (4, DataType.U64, 0, Bytes(-1))))[0];
        Assert.EndsWith("""{"temperature":-9223372036854775808,"a/b":18446744073709551615}}""", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Encode_TextAndBytes_AreEscapedAndBase64()
    {
        string message = Encode(Body(
            Base,
            (4, DataType.Text, 0, Encoding.UTF8.GetBytes("a\"\\\n\0\u001b é€")),
            (7, DataType.Bytes, 0, [0xFB, 0xFF])))[0];
        Assert.EndsWith("""{"a/b":"a\"\\\n\u0000\u001B é€","ch7":"+/8="}}""", message, StringComparison.Ordinal);
    }

    [Fact]
    public void Encode_DeviceWithoutClock_GetsTheArrivalAsTheTimeOfItsNewestRecord()
    {
        byte[] body = Body(0, (1, DataType.U8, 100, [1]), (1, DataType.U8, 400, [2]));
        List<string> messages = Encode(body, new Arrival(1_763_900_000_123, 55, IsSynchronised: true));
        Assert.Contains("\"ts\":1763899999823,\"timeQuality\":\"arrival\"", messages[0], StringComparison.Ordinal);
        Assert.Contains("\"ts\":1763900000123,\"timeQuality\":\"arrival\"", messages[1], StringComparison.Ordinal);
    }

    [Fact]
    public void Encode_ArrivedBeforeTheClockWasSet_IsCorrectedByTheMonotonicClock()
    {
        var time = new FakeTimeProvider();
        long atArrival = time.GetElapsedTime(0).Ticks / TimeSpan.TicksPerMicrosecond;
        time.Advance(TimeSpan.FromSeconds(90));
        time.SetUtcNow(DateTimeOffset.FromUnixTimeMilliseconds(1_763_900_090_000));
        long passed = (time.GetElapsedTime(0).Ticks / TimeSpan.TicksPerMicrosecond) - atArrival;
        byte[] body = Body(0, (1, DataType.U8, 0, [1]));
        var sink = new Sink();
        using var payload = new JsonPayload(Clock(time, true), isPerChannel: false);
        payload.Encode(Record(body, new Arrival(1_000, atArrival, IsSynchronised: false)), sink);
        Assert.Contains(
            $"\"ts\":{1_763_900_090_000 - (passed / 1000)},\"timeQuality\":\"arrival\"", sink.Messages[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Encode_ClockNeverSet_SaysSoAndGivesTheReadingAsItIs()
    {
        byte[] body = Body(0, (1, DataType.U8, 0, [1]));
        var sink = new Sink();
        using var payload = new JsonPayload(Clock(new FakeTimeProvider(), false), isPerChannel: false);
        payload.Encode(Record(body, new Arrival(1_234, 5, IsSynchronised: false)), sink);
        Assert.Contains("\"ts\":1234,\"timeQuality\":\"unsynced\"", sink.Messages[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Encode_DeviceWithItsOwnClock_HasNoTimeQualityWhateverTheGatewaysClockIs()
    {
        var sink = new Sink();
        using var payload = new JsonPayload(Clock(new FakeTimeProvider(), false), isPerChannel: false);
        payload.Encode(Record(Body(Base, (1, DataType.U8, 0, [1])), default), sink);
        Assert.DoesNotContain("timeQuality", sink.Messages[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Encode_AnyFrame_ReadsBackAsTheMessagesOfAPlainModel() =>
        (from isPerChannel in Gen.Bool
         from baseTime in Gen.OneOf(Gen.Const(0L), Gen.Long[-4_000_000_000_000_000, 4_000_000_000_000_000])
         from records in RecordGen.Array[1, 12]
         select (isPerChannel, baseTime, records)).Sample(
            frame =>
            {
                byte[] body = Body(frame.baseTime, frame.records);
                Assert.Equal(DataFault.None, DataReader.Check(body, out _));
                var arrival = new Arrival(1_763_900_000_123, 0, IsSynchronised: true);
                var sink = new Sink();
                using var payload = new JsonPayload(Clock(new FakeTimeProvider(), true), frame.isPerChannel);
                payload.Encode(Record(body, arrival), sink);
                AssertIsModel(frame.isPerChannel, frame.baseTime, frame.records, arrival, sink);
            },
            iter: 3_000);

    [Fact]
    public void Encode_Again_AllocatesNothing()
    {
        byte[] body = Body(
            Base + 7,
            (1, DataType.F32, 0, F32(21.1f)),
            (7, DataType.U64, 3, Bytes(-1)),
            (4, DataType.Text, 3, Encoding.UTF8.GetBytes("é\n")),
            (3, DataType.Bytes, 9, [1, 2, 3]),
            (1, DataType.F64, 1, F64(0.1)));
        using var payload = new JsonPayload(Clock(new FakeTimeProvider(), true), isPerChannel: false);
        var sink = new NullSink();
        // The runtime itself allocates now and then while it makes the code better; encoding would in every round.
        long least = long.MaxValue;
        for (int round = 0; round < 20; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 100; i++)
            {
                payload.Encode(Record(body, default), sink);
            }

            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
    }

    private static readonly Gen<(ushort, DataType, uint, byte[])> RecordGen =
        from channel in Gen.UShort[1, 10]
        from type in Gen.Int[1, 13]
        from offset in Gen.OneOf(Gen.UInt[0, 3], Gen.UInt)
        from value in ValueGen((DataType)type)
        select (channel, (DataType)type, offset, value);

    private static Gen<byte[]> ValueGen(DataType type) => type switch
    {
        DataType.Bool => Gen.Byte[0, 1].Select(b => new[] { b }),
        DataType.F32 => Gen.Float.Select(F32),
        DataType.F64 => Gen.Double.Select(F64),
        DataType.Text => Gen.String[0, 40].Select(s => Encoding.UTF8.GetBytes(s)),
        DataType.Bytes => Gen.Byte.Array[0, 40],
        _ => Gen.Byte.Array[DataTypes.FixedBytes(type)],
    };

    private static void AssertIsModel(
        bool isPerChannel, long baseTime, (ushort Channel, DataType Type, uint Offset, byte[] Value)[] records, Arrival arrival, Sink sink)
    {
        long zero = baseTime != 0 ? baseTime : (arrival.UnixMilliseconds - records.Max(r => r.Offset)) * 1000;
        var expected = new List<(long Time, List<(string Name, DataType Type, byte[] Value)> Values)>();
        foreach (var record in records.OrderBy(r => r.Offset))
        {
            long time = zero + (record.Offset * 1000L);
            string name = Table.Find(record.Channel)?.Name ?? $"ch{record.Channel}";
            if (expected.Count == 0 || isPerChannel || expected[^1].Time != time || expected[^1].Values.Any(v => v.Name == name))
                expected.Add((time, []));
            expected[^1].Values.Add((name, record.Type, record.Value));
        }

        Assert.Equal(expected.Count, sink.Messages.Count);
        for (int part = 0; part < expected.Count; part++)
        {
            JsonElement message = JsonDocument.Parse(sink.Messages[part]).RootElement;
            Assert.Equal("pump-7", message.GetProperty("device").GetString());
            Assert.Equal(287454020u, message.GetProperty("boot").GetUInt32());
            Assert.Equal(2u, message.GetProperty("seq").GetUInt32());
            Assert.Equal(expected.Count > 1, message.TryGetProperty("part", out JsonElement number));
            if (expected.Count > 1)
                Assert.Equal(part, number.GetInt32());
            Assert.Equal(expected[part].Time, message.GetProperty("ts").GetDecimal() * 1000);
            Assert.Matches(@"^-?\d+(\.\d{0,2}[1-9])?$", message.GetProperty("ts").GetRawText());
            Assert.Equal(baseTime == 0, message.TryGetProperty("timeQuality", out _));
            JsonProperty[] values = [.. message.GetProperty("values").EnumerateObject()];
            Assert.Equal(expected[part].Values.Select(v => v.Name), values.Select(v => v.Name));
            for (int i = 0; i < values.Length; i++)
            {
                AssertIsValue(expected[part].Values[i].Type, expected[part].Values[i].Value, values[i].Value);
            }

            Assert.Equal(isPerChannel ? expected[part].Values[0].Name : null, sink.Channels[part]);
        }
    }

    private static void AssertIsValue(DataType type, byte[] value, JsonElement json)
    {
        string raw = json.GetRawText();
        switch (type)
        {
            case DataType.Bool:
                Assert.Equal(value[0] == 1, json.GetBoolean());
                break;
            case DataType.F32 when float.IsFinite(BitConverter.ToSingle(value)):
                Assert.Equal(BitConverter.ToSingle(value), float.Parse(raw, CultureInfo.InvariantCulture));
                break;
            case DataType.F64 when double.IsFinite(BitConverter.ToDouble(value)):
                Assert.Equal(BitConverter.ToDouble(value), double.Parse(raw, CultureInfo.InvariantCulture));
                break;
            case DataType.F32 or DataType.F64:
                Assert.Equal(JsonValueKind.Null, json.ValueKind);
                break;
            case DataType.Text:
                Assert.Equal(Encoding.UTF8.GetString(value), json.GetString());
                break;
            case DataType.Bytes:
                Assert.Equal(value, json.GetBytesFromBase64());
                break;
            default:
                bool isSigned = type is DataType.I8 or DataType.I16 or DataType.I32 or DataType.I64;
                bool isNegative = isSigned && (value[^1] & 0x80) != 0;
                byte[] wide = [.. value, .. Enumerable.Repeat(isNegative ? (byte)0xFF : (byte)0, 16 - value.Length)];
                Assert.Equal(BinaryPrimitives.ReadInt128LittleEndian(wide).ToString(CultureInfo.InvariantCulture), raw);
                break;
        }
    }

    private static List<string> Encode(byte[] body, Arrival arrival = default)
    {
        var sink = new Sink();
        using var payload = new JsonPayload(Clock(new FakeTimeProvider(), true), isPerChannel: false);
        Assert.Equal(payload.Encode(Record(body, arrival), sink), sink.Messages.Count);
        return sink.Messages;
    }

    private static readonly DeviceStream Stream = new("pump-7", 287454020, priority: 2, slot: 0);

    private static BufferedRecord Record(byte[] body, Arrival arrival) => new()
    {
        Handle = new RecordHandle(0),
        Stream = Stream,
        Sequence = 2,
        Channels = Table,
        Arrival = arrival,
        Body = body,
    };

    private static GatewayClock Clock(TimeProvider time, bool isSynchronised) => new(time, () => isSynchronised);

    private static byte[] F32(float value) => BitConverter.GetBytes(value);

    private static byte[] F64(double value) => BitConverter.GetBytes(value);

    private static byte[] Bytes(long value) => BitConverter.GetBytes(value);

    private static byte[] Body(long baseTime, params (ushort Channel, DataType Type, uint Offset, byte[] Value)[] records)
    {
        byte[] body = new byte[64 * 1024];
        var writer = new DataWriter(body, baseTime);
        foreach (var record in records)
        {
            Assert.True(writer.AddRaw(record.Channel, record.Type, record.Offset, record.Value));
        }

        return body[..writer.Written];
    }

    private sealed class Sink : IMessageSink
    {
        public List<string?> Channels { get; } = [];

        public List<string> Messages { get; } = [];

        public void Message(string? channel, ReadOnlySpan<byte> payload)
        {
            Channels.Add(channel);
            Messages.Add(Encoding.UTF8.GetString(payload));
        }
    }

    private sealed class NullSink : IMessageSink
    {
        public void Message(string? channel, ReadOnlySpan<byte> payload)
        {
        }
    }
}
