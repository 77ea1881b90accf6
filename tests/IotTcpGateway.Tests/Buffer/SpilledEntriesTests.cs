using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>Entries of a lane's journal, there and back, and cut at every byte.</summary>
public sealed class SpilledEntriesTests
{
    private readonly byte[] room = new byte[LaneJournal.EntryBytesMax];

    public static TheoryData<string, uint, uint, uint, long, long, bool, uint, string, int> Frames => new()
    {
        { "pump-7", 0, 1, 0, 1_763_900_000_123, 0, true, 0, "", 0 },
        { "pump-7", 287454020, 127, 128, 0, 0, true, 0, "", 1 },
        { "pump-7", 1, 128, 1, 1_763_900_000_123, 4_567_890, false, 99, "", 64 },
        { "pump-7", 1, 2, 3, 0, 0, false, uint.MaxValue, "packet too large", 64 },
        { "local", uint.MaxValue, uint.MaxValue, uint.MaxValue, (1L << 48) - 1, 0, true, 0, "ß", 16 },
        { new string('d', 64), uint.MaxValue, uint.MaxValue, uint.MaxValue, (1L << 48) - 1, long.MaxValue, false, 7,
            new string('r', SpilledFrame.ReasonBytesMax), ProtocolConstants.BodyBytesMax },
    };

    [Theory]
    [MemberData(nameof(Frames))]
    public void Frame_ThereAndBack_IsTheSame(
        string device, uint boot, uint sequence, uint table, long unix, long monotonic, bool isSynchronised, uint host,
        string reason, int bodyBytes)
    {
        var arrival = new Arrival(unix, monotonic, isSynchronised);
        int bytes = Write(device, boot, sequence, table, arrival, host, reason, bodyBytes);
        Assert.True(bytes - bodyBytes <= SpilledFrame.OverheadBytesMax);
        Assert.Equal(SpilledKind.Frame, SpilledFrame.KindOf(room));
        Assert.True(SpilledFrame.TryRead(room.AsSpan(0, bytes), out SpilledFrame frame));
        Assert.Equal(device, Encoding.UTF8.GetString(frame.DeviceId));
        Assert.Equal((boot, sequence, table, host), (frame.BootId, frame.Sequence, frame.Table, frame.HostBoot));
        Assert.Equal(arrival, frame.Arrival);
        Assert.Equal(reason, Encoding.UTF8.GetString(frame.Reason));
        Assert.Equal(Body(bodyBytes), frame.Body.ToArray());
    }

    [Theory]
    [InlineData(true, "")]
    [InlineData(false, "")]
    [InlineData(false, "no")]
    public void Frame_CutAtEveryByteBeforeItsBody_IsNone(bool isSynchronised, string reason)
    {
        var arrival = new Arrival(1, isSynchronised ? 0 : 1 << 20, isSynchronised);
        int bytes = Write("pump-7", 1, 300, 300, arrival, 0, reason, 10);
        for (int cut = 0; cut < bytes - 10; cut++)
            Assert.False(SpilledFrame.TryRead(room.AsSpan(0, cut), out _), $"{cut} bytes");
        for (int cut = bytes - 10; cut <= bytes; cut++)
        {
            Assert.True(SpilledFrame.TryRead(room.AsSpan(0, cut), out SpilledFrame frame));
            Assert.Equal(cut - bytes + 10, frame.Body.Length);
        }
    }

    [Theory]
    [InlineData(0)] // a sequence of 0
    [InlineData(1)] // a device id that is none
    [InlineData(2)] // a sequence above 32 bits
    [InlineData(3)] // another kind
    public void Frame_ThatNobodyWrites_IsNone(int defect)
    {
        var writer = new EntryWriter(room);
        writer.Byte(defect == 3 ? (byte)0x14 : (byte)0x11);
        writer.Text(defect == 1 ? "pump/7"u8 : "pump-7"u8);
        writer.UInt32(1);
        writer.VarInt(defect switch { 0 => 0, 2 => 1UL << 32, _ => 1 });
        writer.VarInt(0);
        writer.UInt48(0);
        Assert.False(SpilledFrame.TryRead(room.AsSpan(0, writer.Written), out _));
    }

    [Fact]
    public void Table_Of300Channels_TakesSeveralEntriesAndComesBackWhole()
    {
        Channel[] channels =
        [
            .. Enumerable.Range(0, 300).Select(n => new Channel(
                (ushort)(n * 200), (DataType)(1 + (n % 11)), $"{new string('ü', 60)}-{n}", n % 2 == 0 ? "" : "m³/h")),
        ];
        int entries = 0;
        ChannelTable back = ChannelTable.Empty;
        for (int next = 0; next < channels.Length; entries++)
        {
            int first = next;
            int bytes = SpilledTable.Write(room, 70_000, channels, ref next);
            Assert.True(next > first);
            Assert.InRange(bytes, 1, SpilledTable.EntryBytesMax);
            Assert.Equal(SpilledKind.Table, SpilledFrame.KindOf(room));
            Assert.True(SpilledTable.TryRead(room.AsSpan(0, bytes), out uint number, out List<Channel> part));
            Assert.Equal(70_000u, number);
            Assert.Equal(channels[first..next], part);
            back = back.With(part);
        }

        Assert.InRange(entries, 2, 20);
        Assert.Equal(channels, back.Channels);
    }

    [Fact]
    public void Table_CutAtEveryByte_IsNoneOrWholeChannels()
    {
        Channel[] channels =
        [
            new(1, DataType.F32, "temperature", "Cel"), new(300, DataType.Text, "note", ""), new(3, DataType.U8, "n", "§"),
        ];
        int next = 0;
        int bytes = SpilledTable.Write(room, 200, channels, ref next);
        List<int> whole = [];
        for (int cut = 0; cut <= bytes; cut++)
        {
            if (!SpilledTable.TryRead(room.AsSpan(0, cut), out _, out List<Channel> part))
                continue;
            Assert.Equal(channels[..part.Count], part);
            whole.Add(part.Count);
        }

        Assert.Equal([0, 1, 2, 3], whole);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(127)]
    [InlineData(128)]
    [InlineData(604_800)]
    [InlineData(long.MaxValue)]
    public void Mark_ThereAndBackAndCut(long seconds)
    {
        int bytes = SpilledMark.Write(room, seconds);
        Assert.InRange(bytes, 2, SpilledMark.BytesMax);
        Assert.True(SpilledMark.TryRead(room.AsSpan(0, bytes), out long back));
        Assert.Equal(seconds, back);
        for (int cut = 0; cut < bytes; cut++)
            Assert.False(SpilledMark.TryRead(room.AsSpan(0, cut), out _));
        Assert.False(SpilledMark.TryRead(room.AsSpan(0, bytes + 1), out _));
    }

    [Fact]
    public void Kinds_AreToldApart()
    {
        SpilledMark.Write(room, 1);
        Assert.Equal(SpilledKind.Mark, SpilledFrame.KindOf(room));
        Assert.False(SpilledFrame.TryRead(room.AsSpan(0, 2), out _));
        Assert.False(SpilledTable.TryRead(room.AsSpan(0, 2), out _, out _));
        Assert.Equal(SpilledKind.Unknown, SpilledFrame.KindOf([]));
        Assert.Equal(SpilledKind.Unknown, SpilledFrame.KindOf([0]));
        Assert.Equal(SpilledKind.Unknown, SpilledFrame.KindOf([0x0F]));
    }

    private int Write(
        string device, uint boot, uint sequence, uint table, in Arrival arrival, uint host, string reason, int bodyBytes)
        => new SpilledFrame
        {
            DeviceId = Encoding.UTF8.GetBytes(device),
            BootId = boot,
            Sequence = sequence,
            Table = table,
            Arrival = arrival,
            HostBoot = host,
            Reason = Encoding.UTF8.GetBytes(reason),
            Body = Body(bodyBytes),
        }.Write(room);

    private static byte[] Body(int bytes) => [.. Enumerable.Range(0, bytes).Select(n => (byte)(n * 7))];

    [Theory]
    [InlineData("\u00ff", "C", 1)] // no UTF-8
    [InlineData("temp", "\u00ff", 1)]
    [InlineData("temp", "C", 0)] // a type that is none
    public void Table_WithWhatNoDeviceMayDescribe_IsNone(string name, string unit, byte type)
    {
        // Bug, found by fuzzing: what is no text came out three times as long, and could not be written again.
        var writer = new EntryWriter(room);
        writer.Byte(EntryTag.Table);
        writer.VarInt(1);
        writer.UInt16(1);
        writer.Byte(type);
        writer.Text(Encoding.Latin1.GetBytes(name));
        writer.Text(Encoding.Latin1.GetBytes(unit));
        Assert.False(SpilledTable.TryRead(room.AsSpan(0, writer.Written), out _, out _));
    }

    [Fact]
    public void Frame_WithALongerReasonThanIsWritten_IsNone()
    {
        // Bug, found by fuzzing: it was read, and did not fit where it is written again.
        int bytes = Write("pump-7", 1, 1, 0, new Arrival(1, 0, true), 0, new string('r', SpilledFrame.ReasonBytesMax + 1), 0);
        Assert.False(SpilledFrame.TryRead(room.AsSpan(0, bytes), out _));
    }
}
