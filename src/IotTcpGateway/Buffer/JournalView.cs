using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>
/// A journal as it is looked at from outside, whoever writes to it meanwhile: nothing of it is changed. What is written
/// after it was opened is not seen.
/// </summary>
internal sealed class JournalView : IDisposable
{
    // A segment that goes, or comes, between two looks at the directory looks like damage, once.
    private const int AttemptsMax = 3;

    private readonly RecordJournal journal;

    private JournalView(RecordJournal journal, RecoveryReport report)
    {
        this.journal = journal;
        Report = report;
    }

    /// <summary>What was found. That nothing could be tidied is no finding here.</summary>
    public RecoveryReport Report { get; }

    /// <summary>Bytes of its segments' files.</summary>
    public long DiskBytes => journal.DiskBytes;

    /// <summary>Reads everything, and opens it for reading.</summary>
    /// <param name="path">The journal's directory.</param>
    /// <param name="isLive">Whether a gateway may write to it.</param>
    /// <param name="newVisitor">Makes who is shown every whole entry; asked again when all is read again.</param>
    /// <param name="view">The journal; null when the directory cannot be listed.</param>
    public static DiskError Open(string path, bool isLive, Func<RecordVisitor> newVisitor, out JournalView? view)
    {
        for (int attempt = 1; ; attempt++)
        {
            DiskError error = RecordJournal.Open(
                new PosixDisk(path, isReadOnly: true),
                new JournalOptions(),
                out RecordJournal? journal,
                out RecoveryReport report,
                newVisitor());
            view = error.IsNone ? new JournalView(journal!, report) : null;
            if (view is null || attempt == AttemptsMax || !MayPass(report, isLive))
                return error;
            view.Dispose();
        }
    }

    /// <summary>Reads entries in order; false from the visitor ends it.</summary>
    /// <param name="readsSettled">Whether those are shown too that are settled and still there.</param>
    /// <param name="visitor">Is shown each one.</param>
    /// <returns>Why it could not be read to its end; none if it was.</returns>
    public DiskError Read(bool readsSettled, EntryVisitor visitor)
    {
        using JournalReader reader = journal.CreateReader(readsSettled ? 1 : journal.ConfirmedThrough + 1);
        while (true)
        {
            switch (reader.TryRead(out JournalRecord record))
            {
                case ReadResult.Record when !visitor(record, journal.IsConfirmed(record.Id)):
                case ReadResult.End:
                    return DiskError.None;
                case ReadResult.Failed:
                    return reader.ReadError;
                default:
                    // Of a gap the report has told, or it was settled meanwhile.
                    break;
            }
        }
    }

    public void Dispose() => journal.Dispose();

    private static bool MayPass(RecoveryReport report, bool isLive) =>
        report.ReadError.Errno == DiskError.NoEntry
        || (isLive && (report.MissingRecords > 0 || report.DamagedHeaders > 0 || report.BrokenSegments > 0
            || report.Cursor is CursorState.OneSlotDamaged or CursorState.Lost));
}

/// <summary>Is shown an entry; false if no more are wanted.</summary>
internal delegate bool EntryVisitor(in JournalRecord record, bool isSettled);
