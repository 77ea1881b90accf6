using System.Buffers.Binary;

using CsCheck;

using Xunit;

namespace IotTcpGateway.Protocol.Tests;

public class DataTests
{
    private static readonly byte[] AllTypes = BodyOf("data-all-types");

    [Theory]
    [InlineData(long.MaxValue, 0u, true)]
    [InlineData(long.MaxValue, 1u, false)]
    [InlineData(long.MaxValue - 1000, 1u, true)]
    [InlineData(long.MaxValue - 999, 1u, false)]
    [InlineData(long.MaxValue - 4_294_967_295_000, uint.MaxValue, true)]
    [InlineData(long.MaxValue - 4_294_967_294_999, uint.MaxValue, false)]
    [InlineData(long.MinValue, uint.MaxValue, true)]
    [InlineData(long.MinValue, 0u, true)]
    [InlineData(-1, 0u, true)]
    [InlineData(0, uint.MaxValue, true)]
    public void Check_TimeAtTheEdgeOfItsRange_IsRightOrOutOfRange(long baseTime, uint offset, bool isRight)
    {
        byte[] body = Body(baseTime, Record(1, DataType.Bool, offset, [1]));
        Assert.Equal(isRight ? DataFault.None : DataFault.TimeOutOfRange, DataReader.Check(body, out _));
        byte[] again = new byte[body.Length];
        if (isRight)
            Assert.True(new DataWriter(again, baseTime).AddRaw(1, DataType.Bool, offset, [1]));
        else
            Assert.Throws<ArgumentOutOfRangeException>(() => new DataWriter(again, baseTime).Add(1, offset, true));
    }

    [Fact]
    public void Check_BodyWithoutARecord_IsEmpty()
    {
        for (int length = 0; length <= DataReader.BaseTimeBytes; length++)
        {
            Assert.Equal(DataFault.Empty, DataReader.Check(new byte[length], out int records));
            Assert.Equal(0, records);
            Assert.False(new DataReader(new byte[length]).TryRead(out _));
        }
    }

    [Fact]
    public void Check_EveryPrefixOfABody_EndsEarlyOrAtARecord()
    {
        var boundaries = new Dictionary<int, int>();
        var reader = new DataReader(AllTypes);
        while (reader.TryRead(out _))
            boundaries[reader.BytesRead] = boundaries.Count + 1;
        Assert.Equal(16, boundaries.Count);

        for (int length = DataReader.BaseTimeBytes + 1; length <= AllTypes.Length; length++)
        {
            DataFault fault = DataReader.Check(AllTypes.AsSpan(0, length), out int records);
            bool isWhole = boundaries.TryGetValue(length, out int expected);
            Assert.Equal(isWhole ? DataFault.None : DataFault.EndsEarly, fault);
            Assert.Equal(isWhole ? expected : boundaries.Count(b => b.Key < length), records);
        }
    }

    [Fact]
    public void Check_EveryValueTypeByte_KnowsThirteen()
    {
        for (int type = 0; type <= byte.MaxValue; type++)
        {
            // As long as the longest fixed value: what is left over of a shorter one is a fault of the next record.
            DataFault fault = DataReader.Check(Body(0, Record(1, (DataType)type, 0, new byte[8])), out int records);
            Assert.Equal(type is >= 1 and <= 13 ? 1 : 0, records);
            Assert.True(records == 1 || fault == DataFault.UnknownValueType);
        }
    }

    [Fact]
    public void Check_EveryBoolByte_TakesZeroAndOne()
    {
        for (int value = 0; value <= byte.MaxValue; value++)
        {
            DataFault fault = DataReader.Check(Body(0, Record(1, DataType.Bool, 0, [(byte)value])), out _);
            Assert.Equal(value <= 1 ? DataFault.None : DataFault.BadBool, fault);
        }
    }

    [Theory]
    [InlineData("C3 28")]
    [InlineData("C3")]
    [InlineData("80")]
    [InlineData("C0 80")]
    [InlineData("ED A0 80")]
    [InlineData("F4 90 80 80")]
    [InlineData("FF")]
    public void Check_TextThatIsNotUtf8_IsBadText(string hex)
    {
        byte[] text = Convert.FromHexString(hex.Replace(" ", ""));
        byte[] body = Body(0, Record(1, DataType.Text, 0, [(byte)text.Length, .. text]));
        Assert.Equal(DataFault.BadText, DataReader.Check(body, out _));
        Assert.Throws<ArgumentException>(() => new DataWriter(new byte[64], 0).AddText(1, 0, text));
    }

    [Theory]
    [InlineData(DataFault.EndsEarly, "0100 0C 00000000 FF 61")]
    [InlineData(DataFault.UnknownValueType, "0100 0E 00000000")]
    [InlineData(DataFault.BadBool, "0100 01 00000000 02")]
    [InlineData(DataFault.BadText, "0100 0C 00000000 01 FF")]
    [InlineData(DataFault.TimeOutOfRange, "0100 01 FFFFFFFF 01")]
    public void Check_FaultAfterGoodRecords_CountsThemAndNothingIsReadBehindIt(DataFault fault, string hex)
    {
        byte[] good = Record(1, DataType.Bool, 0, [1]);
        byte[] bad = Convert.FromHexString(hex.Replace(" ", ""));
        for (int before = 0; before <= 3; before++)
        {
            byte[] body = Body(
                long.MaxValue, [.. Enumerable.Repeat(good, before).SelectMany(r => r), .. bad, .. good, .. good]);
            // A record that ends early has nothing behind it that could be taken for a record.
            byte[] cut = fault == DataFault.EndsEarly ? body[..^(2 * good.Length)] : body;
            Assert.Equal(fault, DataReader.Check(cut, out int records));
            Assert.Equal(before, records);
            var reader = new DataReader(cut);
            for (int i = 0; i < before; i++)
                Assert.True(reader.TryRead(out _));
            for (int i = 0; i < 4; i++)
                Assert.False(reader.TryRead(out _));
        }
    }

    [Fact]
    public void Add_WhenTheRoomEndsAnywhere_AnswersFalseAndLeavesWhatWasWritten()
    {
        for (int room = DataReader.BaseTimeBytes; room <= 80; room++)
        {
            var destination = new byte[room];
            var writer = new DataWriter(destination, 1);
            int added = 0, before;
            do
            {
                before = writer.Written;
                added += Add(ref writer, added) ? 1 : 0;
            }
            while (writer.Written > before);

            Assert.True(writer.Written <= room);
            DataFault fault = DataReader.Check(destination.AsSpan(0, writer.Written), out int records);
            Assert.Equal(added == 0 ? DataFault.Empty : DataFault.None, fault);
            Assert.Equal(added, records);
        }
    }

    [Fact]
    public void AddRaw_ValueThatItsTypeCannotHold_Throws()
    {
        var room = new byte[70_000];
        for (var type = DataType.Bool; type <= DataType.F64; type++)
        {
            for (int length = 0; length <= 9; length++)
            {
                if (length == DataTypes.FixedBytes(type))
                    continue;
                var value = new byte[length];
                Assert.Throws<ArgumentException>(() => new DataWriter(room, 0).AddRaw(1, type, 0, value));
            }
        }

        Assert.Throws<ArgumentException>(() => new DataWriter(room, 0).AddRaw(1, DataType.Bool, 0, [2]));
        Assert.Throws<ArgumentException>(() => new DataWriter(room, 0).AddRaw(1, (DataType)14, 0, [0]));
        Assert.Throws<ArgumentException>(() => new DataWriter(room, 0).AddRaw(1, DataType.Text, 0, new byte[256]));
        Assert.Throws<ArgumentException>(() => new DataWriter(room, 0).AddRaw(1, DataType.Bytes, 0, new byte[65_536]));
        Assert.False(new DataWriter(room, 0).AddText(1, 0, new byte[256]));
        Assert.False(new DataWriter(room, 0).AddBytes(1, 0, new byte[65_536]));
        Assert.True(new DataWriter(room, 0).AddText(1, 0, new byte[255]));
        Assert.True(new DataWriter(room, 0).AddBytes(1, 0, new byte[65_535]));
    }

    [Fact]
    public void RecordAt_EveryOffsetThatTheReaderGave_IsThatRecord()
    {
        var reader = new DataReader(AllTypes);
        for (int offset = reader.BytesRead; reader.TryRead(out DataRecord record); offset = reader.BytesRead)
        {
            DataRecord again = DataReader.RecordAt(AllTypes, offset);
            Assert.Equal(record.Channel, again.Channel);
            Assert.Equal(record.OffsetMilliseconds, again.OffsetMilliseconds);
            Assert.Equal(record.Value, again.Value);
        }
    }

    [Fact]
    public void Add_AnyTypedValue_IsReadBackAsItself() =>
        Gen.Select(Gen.Int, Gen.UInt, Gen.Long, Gen.ULong, Gen.Float, Gen.Double, Gen.Bool).Sample(
            (i, u, l, ul, f, d, b) =>
            {
                var body = new byte[256];
                var writer = new DataWriter(body, 5);
                Assert.True(writer.Add(1, 1, i) && writer.Add(2, 2, u) && writer.Add(3, 3, l) && writer.Add(4, 4, ul));
                Assert.True(writer.Add(5, 5, f) && writer.Add(6, 6, d) && writer.Add(7, 7, b));
                var reader = new DataReader(body.AsSpan(0, writer.Written));
                return reader.TryRead(out DataRecord r1) && r1.Type == DataType.I32 && r1.AsSigned() == i
                    && reader.TryRead(out DataRecord r2) && r2.Type == DataType.U32 && r2.AsUnsigned() == u
                    && reader.TryRead(out DataRecord r3) && r3.Type == DataType.I64 && r3.AsSigned() == l
                    && reader.TryRead(out DataRecord r4) && r4.Type == DataType.U64 && r4.AsUnsigned() == ul
                    && reader.TryRead(out DataRecord r5) && r5.Type == DataType.F32 && r5.AsSingle().Equals(f)
                    && reader.TryRead(out DataRecord r6) && r6.Type == DataType.F64 && r6.AsDouble().Equals(d)
                    && reader.TryRead(out DataRecord r7) && r7.Type == DataType.Bool && r7.AsBool() == b
                    && r7.Channel == 7 && r7.OffsetMilliseconds == 7 && !reader.TryRead(out _);
            },
            iter: 10_000);

    private static bool Add(ref DataWriter writer, int turn) => (turn % 5) switch
    {
        0 => writer.Add(1, 0, 1.5),
        1 => writer.AddText(2, 0, "heating"u8),
        2 => writer.Add(3, 0, true),
        3 => writer.AddBytes(4, 0, [1, 2, 3]),
        _ => writer.Add(5, 0, 7),
    };

    private static byte[] BodyOf(string vector)
    {
        FrameReader.Read(Vectors.Find(vector).Hex("hex"), out Frame frame);
        return frame.Body.ToArray();
    }

    private static byte[] Body(long baseTime, byte[] records)
    {
        var body = new byte[DataReader.BaseTimeBytes + records.Length];
        BinaryPrimitives.WriteInt64LittleEndian(body, baseTime);
        records.CopyTo(body, DataReader.BaseTimeBytes);
        return body;
    }

    // Not by the writer under test: a malformed record is wanted as often as a right one.
    private static byte[] Record(ushort channel, DataType type, uint offset, byte[] value)
    {
        var record = new byte[7 + value.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(record, channel);
        record[2] = (byte)type;
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(3), offset);
        value.CopyTo(record, 7);
        return record;
    }
}
