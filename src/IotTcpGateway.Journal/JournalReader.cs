namespace IotTcpGateway.Journal;

/// <summary>
/// Reads the synced records of a journal in the order of their ids. Damage is stepped over; what is missing is told as
/// a gap before the record that follows it. Holds a fixed buffer of 256 KiB.
/// </summary>
public sealed class JournalReader : IDisposable
{
    private readonly RecordJournal journal;
    private readonly SegmentScanner scanner = new();
    private Segment? segment;
    private ISegmentFile? file;
    private SegmentName lastName;
    private bool hasEnteredAny;
    private long expectedId;

    internal JournalReader(RecordJournal journal, long fromId)
    {
        this.journal = journal;
        expectedId = Math.Max(fromId, 1);
    }

    /// <summary>
    /// What is missing, after <see cref="ReadResult.Gap"/>. Settle it with <see
    /// cref="RecordJournal.Confirm(IdRange)"/>.
    /// </summary>
    public IdRange Gap { get; private set; }

    /// <summary>The last read that failed. After EIO its records were passed over and count as a gap.</summary>
    public DiskError ReadError { get; private set; }

    /// <summary>The id that is expected next.</summary>
    public long NextId => expectedId;

    /// <summary>The next record, a gap before it, or the end of what is synced.</summary>
    /// <param name="record">The record; its payload is valid until the next call.</param>
    public ReadResult TryRead(out JournalRecord record)
    {
        record = default;
        while (true)
        {
            if (segment is null)
            {
                ReadResult entered = Enter();
                if (entered != ReadResult.Record)
                    return entered;
            }

            // The seal first: what is published after a look at the end would be missed otherwise.
            bool isSealed = segment!.IsSealed;
            scanner.Extend(segment.End);
            ReadResult result = ReadHere(ref record);
            if (result != ReadResult.End || !isSealed)
                return result;
            Leave();
        }
    }

    /// <summary>Closes the file at hand.</summary>
    public void Dispose() => Leave();

    // Record: a segment is open. Its beginning may tell that some before it are missing.
    private ReadResult Enter()
    {
        Segment? next = hasEnteredAny ? journal.FindNext(lastName) : journal.FindSegment(expectedId);
        if (next is null)
            return ReadResult.End;
        if (TryFindGapBefore(next.FirstId - next.SkippedIds))
            return ReadResult.Gap;
        expectedId = Math.Max(expectedId, next.FirstId);
        DiskError error = journal.Disk.Open(next.FileName, FileOpening.Read, out file);
        if (!error.IsNone && error.Errno is not (DiskError.NoEntry or DiskError.InputOutput))
        {
            // Too many open files, say: the records are there, only not now.
            ReadError = error;
            return ReadResult.Failed;
        }

        hasEnteredAny = true;
        lastName = next.Name;
        if (error.IsNone)
        {
            segment = next;
            scanner.Begin(file!, next.Name.Nonce, SegmentHeader.Bytes, SegmentHeader.Bytes);
            return ReadResult.Record;
        }

        if (error.Errno == DiskError.InputOutput)
            ReadError = error;
        return Enter();
    }

    private ReadResult ReadHere(ref JournalRecord record)
    {
        ScanResult result;
        while ((result = scanner.Step()) != ScanResult.End)
        {
            long id = scanner.Header.Id;
            if (result == ScanResult.DamagedBody)
                continue;
            if (id < expectedId || id <= journal.GivenUpThrough)
            {
                expectedId = Math.Max(expectedId, id + 1);
                continue;
            }

            if (TryFindGapBefore(id))
            {
                if (!scanner.ReadError.IsNone)
                    ReadError = scanner.ReadError;
                scanner.StepBack();
                return ReadResult.Gap;
            }

            expectedId = id + 1;
            record = new JournalRecord(id, scanner.Payload);
            return ReadResult.Record;
        }

        if (!scanner.ReadError.IsNone)
            ReadError = scanner.ReadError;
        return ReadResult.End;
    }

    // What is settled already is nobody's loss.
    private bool TryFindGapBefore(long id)
    {
        var missing = new IdRange(Math.Max(expectedId, journal.ConfirmedThrough + 1), id - 1);
        expectedId = Math.Max(expectedId, id);
        if (missing.IsEmpty)
            return false;
        Gap = missing;
        return true;
    }

    private void Leave()
    {
        file?.Dispose();
        file = null;
        segment = null;
    }
}
