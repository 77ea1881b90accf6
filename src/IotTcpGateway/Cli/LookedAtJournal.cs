using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;

namespace IotTcpGateway.Cli;

/// <summary>A journal of which every entry was read and counted.</summary>
/// <param name="Report">How the journal was found.</param>
/// <param name="Figures">What was in it; of the ledger only how many entries.</param>
/// <param name="Waiting">What is not settled: frames, or in the ledger drops that were not told.</param>
/// <param name="DiskBytes">Bytes of its segments.</param>
/// <param name="Findings">What is damaged, a line each; empty when it is whole.</param>
internal sealed record LookedAtJournal(
    RecoveryReport Report, JournalFigures Figures, long Waiting, long DiskBytes, IReadOnlyList<string> Findings)
{
    /// <summary>Reads it; <paramref name="progress"/> is told the bytes so far.</summary>
    public static LookedAtJournal Read(LookedAtBuffer buffer, BufferJournal journal, Action<long>? progress = null)
    {
        var figures = new JournalFigures();
        var ledger = new LedgerFindings();
        using JournalView view = buffer.Open(journal, NewVisitor);
        long unknown = journal.HoldsFrames ? figures.Unknown : ledger.Unreadable;
        return new LookedAtJournal(
            view.Report,
            figures,
            journal.HoldsFrames ? figures.Frames : ledger.Unconfirmed.Count(),
            view.DiskBytes,
            BufferFindings.Of(view.Report, unknown, figures.FramesWithoutNames, buffer.IsInUse ?? false));

        RecordVisitor NewVisitor()
        {
            figures = new JournalFigures();
            ledger = new LedgerFindings();
            return Visit;
        }

        void Visit(in JournalRecord record)
        {
            if (journal.HoldsFrames)
                figures.Visit(record);
            else
                figures.VisitOther(record);
            if (!journal.HoldsFrames)
                ledger.Take(record);
            progress?.Invoke(figures.BytesRead);
        }
    }
}
