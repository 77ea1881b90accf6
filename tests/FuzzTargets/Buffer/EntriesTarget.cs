using System.Buffers.Binary;

using IotTcpGateway.Buffer;
using IotTcpGateway.Fuzz.Protocol;
using IotTcpGateway.Journal.Tests;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Fuzz.Buffer;

/// <summary>
/// What lies in the buffer's journals and in the custody file: any bytes are read or refused, and what is read can be
/// written into the room that there is for it, and is the same when it is read again.
/// </summary>
/// <remarks>Input: a byte that chooses, then the entry; the custody file gets its magic and a right checksum.</remarks>
internal static class EntriesTarget
{
    public static void Run(ReadOnlySpan<byte> input)
    {
        if (input.IsEmpty)
            return;
        ReadOnlySpan<byte> entry = input[1..];
        switch (input[0] % 5)
        {
            case 0:
                CheckFrame(entry);
                break;
            case 1:
                CheckTable(entry);
                break;
            case 2:
                CheckMark(entry);
                break;
            case 3:
                CheckLedger(entry);
                break;
            default:
                CheckCustody(entry);
                break;
        }
    }

    private static void CheckFrame(ReadOnlySpan<byte> entry)
    {
        if (!SpilledFrame.TryRead(entry, out SpilledFrame frame))
            return;
        Require.That(SpilledFrame.KindOf(entry) == SpilledKind.Frame, "a frame of another kind");
        Require.That(frame.Sequence > 0, "sequence 0");
        var copy = new byte[SpilledFrame.OverheadBytesMax + frame.Body.Length];
        int bytes = frame.Write(copy);
        Require.That(SpilledFrame.TryRead(copy.AsSpan(0, bytes), out SpilledFrame again), "a written frame is not read");
        Require.SameBytes(frame.DeviceId, again.DeviceId, "a device id");
        Require.SameBytes(frame.Reason, again.Reason, "a reason");
        Require.SameBytes(frame.Body, again.Body, "a body");
        Require.That(
            (frame.BootId, frame.Sequence, frame.Table, frame.HostBoot, frame.Arrival)
                == (again.BootId, again.Sequence, again.Table, again.HostBoot, again.Arrival),
            "a frame differs");
    }

    private static void CheckTable(ReadOnlySpan<byte> entry)
    {
        if (!SpilledTable.TryRead(entry, out uint number, out List<Channel> channels))
            return;
        Require.That(number > 0, "table 0");
        var copy = new byte[2 * SpilledTable.EntryBytesMax];
        List<Channel> again = [];
        for (int first = 0; first < channels.Count;)
        {
            int bytes = SpilledTable.Write(copy, number, channels, ref first);
            Require.That(SpilledTable.TryRead(copy.AsSpan(0, bytes), out uint sameNumber, out List<Channel> some), "a written table is not read");
            Require.That(sameNumber == number, "a table of another number");
            again.AddRange(some);
        }

        Require.That(channels.SequenceEqual(again), "a table differs");
    }

    private static void CheckMark(ReadOnlySpan<byte> entry)
    {
        if (!SpilledMark.TryRead(entry, out long seconds))
            return;
        var copy = new byte[SpilledMark.BytesMax];
        int bytes = SpilledMark.Write(copy, seconds);
        Require.That(SpilledMark.TryRead(copy.AsSpan(0, bytes), out long again) && again == seconds, "a mark differs");
    }

    private static void CheckLedger(ReadOnlySpan<byte> entry)
    {
        if (LedgerRecord.Read(entry) is not { } report)
            return;
        var copy = new byte[LedgerRecord.BytesMax];
        int bytes = LedgerRecord.Write(copy, report);
        Require.That(LedgerRecord.Read(copy.AsSpan(0, bytes)) == report, "a ledger's entry differs");
    }

    private static void CheckCustody(ReadOnlySpan<byte> content)
    {
        var disk = new SimulatedDisk(new Random(1));
        byte[] file = [.. "ITGCUST\n"u8, .. content, 0, 0, 0, 0];
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(file.Length - 4), Crc32C.Compute(file.AsSpan(0, file.Length - 4)));
        disk[CustodyFile.Name] = file;
        if (!CustodyFile.TryRead(disk, out long seconds, out List<CustodyEntry> entries))
            return;
        Require.That(CustodyFile.Write(disk, seconds, entries).IsNone, "a custody file that was read cannot be written");
        bool isRead = CustodyFile.TryRead(disk, out long sameSeconds, out List<CustodyEntry> again);
        Require.That(isRead && sameSeconds == seconds && entries.SequenceEqual(again), "custody differs");
    }
}
