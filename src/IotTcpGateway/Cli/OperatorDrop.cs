using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;
using IotTcpGateway.Time;

namespace IotTcpGateway.Cli;

/// <summary>
/// Gives frames up on the word of an operator: first the ledger says so, durably, then they go. Of frames in quarantine
/// it said so when they came there. The buffer's lock is held meanwhile.
/// </summary>
internal sealed class OperatorDrop : IDisposable
{
    // Nothing is appended. The smallest reserve, so that the gateway's own serves: it is what lets a full disk be emptied.
    private static readonly JournalOptions SmallReserve = new() { PayloadBytesMax = 0, CommitBytesMax = 4096 };

    private readonly string ledgerPath;
    private readonly DropLedger ledger;

    /// <exception cref="IOException">The ledger cannot be written.</exception>
    public OperatorDrop(LookedAtBuffer buffer)
    {
        GatewayClock clock = buffer.Clock;
        ledger = new DropLedger(TimeProvider.System, () => clock.IsSynchronised ? clock.UnixMilliseconds : 0);
        ledgerPath = Path.Combine(buffer.Directory.Path, BufferDisk.LedgerName);
        DiskError error = new PosixBufferDirectory(buffer.Directory.Path).Open(BufferDisk.LedgerName, out IJournalDisk disk);
        if (error.IsNone)
            error = ledger.Open(disk);
        ThrowIf(error, ledgerPath, "nothing was dropped");
    }

    /// <summary>Gives up everything in a journal, and frees its room; returns what that was.</summary>
    /// <exception cref="IOException">It cannot be done; the message says how far it is done.</exception>
    public DroppedFrames Drop(BufferJournal journal)
    {
        var dropped = new DroppedFrames();
        DiskError error = RecordJournal.Open(
            new PosixDisk(journal.Path), SmallReserve, out RecordJournal? opened, out _, Enter);
        using (opened)
        {
            ThrowIf(error, journal.Path, "nothing of it was dropped");
            ThrowIf(Tell(journal), ledgerPath, $"nothing of {journal.Name} was dropped");
            opened!.GiveUpThrough(opened.SyncedThrough);
            error = opened.Trim();
        }

        ThrowIf(error, journal.Path, "what was dropped may be published all the same");
        return dropped;

        void Enter(in JournalRecord record)
        {
            if (record.IsConfirmed || !SpilledFrame.TryRead(record.Payload, out SpilledFrame frame))
                return;
            string device = dropped.Add(frame);
            if (!journal.IsQuarantine)
                ledger.Add(device, frame.BootId, frame.Sequence, DropReason.Operator);
        }
    }

    // A disk that is full has room in the journal's reserve; all of the journal is about to go.
    private DiskError Tell(BufferJournal journal)
    {
        DiskError error = ledger.Flush();
        if (!error.IsNoSpace)
            return error;
        File.Delete(Path.Combine(journal.Path, "reserve"));
        return ledger.Flush();
    }

    public void Dispose()
    {
        _ = ledger.Tidy(); // what it would free, the gateway frees
        ledger.Dispose();
    }

    private static void ThrowIf(DiskError error, string path, string consequence)
    {
        if (!error.IsNone)
            throw new IOException($"{path} cannot be changed ({error}): {consequence}");
    }
}
