using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

// The ledger on disk. An entry that changed is written again under its number: the last record of a number counts.
internal sealed partial class DropLedger
{
    // So many records are written anew for a single one that would be told again.
    private const int CarriedMin = 64;

    private RecordJournal? journal;
    private bool isDirty;
    private bool isUntidy;
    private long lastSettled;

    /// <summary>Whether entries outlive the process.</summary>
    public bool IsOnDisk => Volatile.Read(ref journal) is not null;

    /// <summary>
    /// Takes the ledger in a directory into use: entries in it come before those made since. On failure everything is
    /// in memory, and it may be tried again. For the spilling thread alone.
    /// </summary>
    public DiskError Open(IJournalDisk disk)
    {
        if (journal is not null)
            return DiskError.None;
        var found = new LedgerFindings();
        DiskError error = RecordJournal.Open(
            disk, limits.Journal, out RecordJournal? opened, out RecoveryReport report, found.Take);
        if (!error.IsNone)
            return error;
        found.SettleTheRest(opened!);
        lock (sync)
        {
            forgotten += report.MissingRecords + found.Unreadable;
            lastSettled = opened!.LastId;
            TakeOver(found, Math.Max(found.LastNumber, opened.LastId));
            isDirty = isUntidy = true;
            Volatile.Write(ref journal, opened);
        }

        if (Untaken > 0)
            Added?.Invoke();
        return DiskError.None;
    }

    /// <summary>
    /// Makes everything that was added durable; nothing but its next sequence joins an entry from then on. For the
    /// spilling thread alone.
    /// </summary>
    public DiskError Flush()
    {
        if (journal is null || !HasWork)
            return DiskError.None;
        // A journal that failed takes nothing until a commit has found that the disk is back. One that is full takes
        // what there is room for.
        if (journal.State != JournalState.Healthy && journal.Commit() is { State: JournalState.Failed } still)
            return still.Error;
        if (IsShortOfRoom)
            CarryForward();
        CollectDirty();
        DiskError error = Append();
        CommitResult done = journal.Commit();
        Resolve(done.SyncedThrough);
        // On a full disk there is a reserve: what was written into it is durable all the same.
        if (error.IsNone && unsynced.Count > 0)
            error = done.Error;
        if (error.IsNone)
            Settle();
        return error;
    }

    /// <summary>
    /// Makes durable what was confirmed, and frees its room; else a restart tells it again. For the spilling thread
    /// alone.
    /// </summary>
    public DiskError Tidy()
    {
        if (journal is null || !Volatile.Read(ref isUntidy))
            return DiskError.None;
        CarryForward();
        DiskError error = Flush();
        Volatile.Write(ref isUntidy, false);
        if (error.IsNone)
            error = journal.CommitCursor();
        if (error.IsNone)
            error = journal.Trim();
        if (!error.IsNone)
            Volatile.Write(ref isUntidy, true);
        return error;
    }

    private bool HasWork
    {
        get
        {
            lock (sync)
                return isDirty || unsynced.Count > 0 || released.Count > 0;
        }
    }

    private void TakeOver(LedgerFindings found, long last)
    {
        LedgerEntry[] since = [.. entries];
        LedgerEntry[] latestSince = [.. latest];
        entries.Clear();
        latest.Clear();
        bytes = waiting = 0;
        foreach (LedgerEntry entry in found.Unconfirmed)
            Append(entry, entry.Number);
        lastNumber = last;
        foreach (LedgerEntry entry in since)
            Append(entry, ++lastNumber);
        foreach (LedgerEntry entry in found.Latest.Concat(latestSince))
            Remember(entry);
        if (bytes > limits.MemoryBytes)
            MakeRoom();
    }

    // The cursor stands before the first record that is of use. What is behind it and of none is told again after a
    // restart, and keeps its room: so those that hold it up are written anew behind it, unless they are the most.
    private void CarryForward()
    {
        lock (sync)
        {
            long dead = journal!.SyncedThrough - journal.ConfirmedThrough - entries.Count(e => e.JournalId != 0);
            int holding = entries.Count(e => e.JournalId != 0 && e.JournalId < lastSettled);
            if (dead == 0 || holding == 0 || holding > Math.Max(dead, CarriedMin))
                return;
            foreach (LedgerEntry entry in entries)
                entry.IsDirty |= entry.JournalId != 0 && entry.JournalId < lastSettled;
            isDirty = true;
        }
    }

    private void Confirm(long id)
    {
        journal!.Confirm(id);
        lastSettled = Math.Max(lastSettled, id);
        isUntidy = true;
    }
}
