using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>What a journal of the buffer holds, counted entry by entry.</summary>
internal sealed class JournalFigures
{
    // What the journal puts around an entry.
    private const int RecordHeaderBytes = 24;
    private const int RecordAlignment = 8;

    private readonly Dictionary<uint, long> framesByTable = [];
    private readonly HashSet<uint> tables = [];

    /// <summary>Frames that are not settled.</summary>
    public long Frames { get; private set; }

    /// <summary>Bytes of these on disk.</summary>
    public long Bytes { get; private set; }

    /// <summary>Entries of any kind, settled ones too.</summary>
    public long Entries { get; private set; }

    /// <summary>Entries that are whole and not understood.</summary>
    public long Unknown { get; private set; }

    /// <summary>Bytes of all entries read.</summary>
    public long BytesRead { get; private set; }

    /// <summary>Arrival of the oldest frame that is not settled.</summary>
    public Arrival? Oldest { get; private set; }

    /// <summary>Arrival of the newest one.</summary>
    public Arrival? Newest { get; private set; }

    /// <summary>How fast frames came.</summary>
    public ArrivalRate Rate { get; } = new();

    /// <summary>Frames that are not settled, and whose table is not there.</summary>
    public long FramesWithoutNames => framesByTable.Where(t => !tables.Contains(t.Key)).Sum(t => t.Value);

    public void Visit(in JournalRecord record)
    {
        VisitOther(record);
        switch (SpilledFrame.KindOf(record.Payload))
        {
            case SpilledKind.Frame when SpilledFrame.TryRead(record.Payload, out SpilledFrame frame):
                Count(frame, OnDisk(record.Payload.Length), record.IsConfirmed);
                break;
            case SpilledKind.Table when SpilledTable.TryRead(record.Payload, out uint number, out _):
                tables.Add(number);
                break;
            case SpilledKind.Mark when SpilledMark.TryRead(record.Payload, out _):
                break;
            default:
                Unknown++;
                break;
        }
    }

    /// <summary>Counts an entry of a journal that does not hold frames.</summary>
    public void VisitOther(in JournalRecord record)
    {
        Entries++;
        BytesRead += record.Payload.Length;
    }

    private static int OnDisk(int bytes) => (RecordHeaderBytes + bytes + RecordAlignment - 1) & -RecordAlignment;

    private void Count(in SpilledFrame frame, int bytes, bool isSettled)
    {
        Rate.Add(frame.Arrival.UnixMilliseconds, bytes);
        if (isSettled)
            return;
        Frames++;
        Bytes += bytes;
        Oldest ??= frame.Arrival;
        Newest = frame.Arrival;
        if (frame.Table != 0)
            framesByTable[frame.Table] = framesByTable.GetValueOrDefault(frame.Table) + 1;
    }
}
