using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

// How entries get to disk. For the spilling thread alone; the disk is never waited for under the lock.
internal sealed partial class DropLedger
{
    private readonly List<(LedgerEntry Entry, GapReport Report)> writing = [];
    private readonly Queue<(LedgerEntry Entry, long Id)> unsynced = new();

    // Records that are of no use any more once everything that changed is synced: what they say is said there.
    private readonly List<long> released = [];

    private bool IsShortOfRoom => journal!.DiskBytes > limits.Journal.BytesMax / 2;

    private void CollectDirty()
    {
        writing.Clear();
        lock (sync)
        {
            isDirty = false;
            foreach (LedgerEntry entry in entries)
            {
                entry.IsOpen = false;
                if (!entry.IsDirty)
                    continue;
                entry.IsDirty = false;
                writing.Add((entry, entry.AsReport()));
            }
        }
    }

    private DiskError Append()
    {
        Span<byte> record = stackalloc byte[LedgerRecord.BytesMax];
        for (int i = 0; i < writing.Count; i++)
        {
            (LedgerEntry entry, GapReport report) = writing[i];
            DiskError error = Append(record[..LedgerRecord.Write(record, report)], out long id);
            if (!error.IsNone)
            {
                MarkDirtyFrom(i);
                return error;
            }

            unsynced.Enqueue((entry, id));
        }

        return DiskError.None;
    }

    private DiskError Append(ReadOnlySpan<byte> record, out long id)
    {
        var noRoom = new DiskError(DiskOperation.Write, DiskError.NoSpace);
        while (true)
        {
            AppendResult result = journal!.TryAppend(record, out id, mayUseReserve: true);
            if (result == AppendResult.Appended)
                return DiskError.None;
            bool goesOn = result == AppendResult.CommitFirst
                ? journal.Commit().State != JournalState.Failed
                : result == AppendResult.Full && journal.State == JournalState.Healthy && DropOldest();
            Resolve(journal.SyncedThrough);
            if (!goesOn)
                return journal.LastError.IsNone ? noRoom : journal.LastError;
        }
    }

    private void MarkDirtyFrom(int first)
    {
        lock (sync)
        {
            isDirty = true;
            for (int i = first; i < writing.Count; i++)
                writing[i].Entry.IsDirty = true;
        }
    }

    // False if that gave no room.
    private bool DropOldest()
    {
        IdRange oldest = journal!.OldestSegment;
        long before = journal.DiskBytes;
        if (oldest.IsEmpty)
            return false;
        Commit();
        lock (sync)
        {
            foreach (LedgerEntry entry in entries)
            {
                if (entry.JournalId < oldest.First || entry.JournalId > oldest.Last)
                    continue;
                entry.JournalId = 0;
                // What is on its way to the broker is not lost yet.
                entry.IsDirty = entry.Taken is not null;
                isDirty |= entry.IsDirty;
                if (entry.Taken is null)
                    Forget(entry);
            }

            entries.RemoveAll(e => e.IsGone);
            released.RemoveAll(id => id <= oldest.Last);
        }

        journal.DropOldest(out _);
        return journal.DiskBytes < before;
    }

    private void Commit() => Resolve(journal!.Commit().SyncedThrough);

    private void Resolve(long syncedThrough)
    {
        lock (sync)
        {
            while (unsynced.TryPeek(out (LedgerEntry Entry, long Id) written) && written.Id <= syncedThrough)
            {
                unsynced.Dequeue();
                LedgerEntry entry = written.Entry;
                if (entry.JournalId != 0)
                    released.Add(entry.JournalId);
                if (entry.IsGone)
                    released.Add(written.Id);
                entry.JournalId = entry.IsGone ? 0 : written.Id;
            }
        }
    }

    private void Settle()
    {
        lock (sync)
        {
            // What was merged since, say, is not yet written in its new form.
            if (isDirty || released.Count == 0)
                return;
            foreach (long id in released)
                Confirm(id);
            released.Clear();
        }

        if (IsShortOfRoom)
            journal!.Trim();
    }
}
