namespace IotTcpGateway.Buffer;

// What happens when there are too many entries.
internal sealed partial class DropLedger
{
    // To well below the cap, so that it is not done for every entry again.
    private void MakeRoom()
    {
        MergeAll();
        entries.RemoveAll(e => e.IsGone);
        int target = limits.MemoryBytes - (limits.MemoryBytes / 8);
        foreach (LedgerEntry entry in entries)
        {
            if (bytes <= target)
                break;
            if (entry.Taken is null)
                Forget(entry);
        }

        entries.RemoveAll(e => e.IsGone);
    }

    private void MergeAll()
    {
        var oldest = new Dictionary<LedgerKey, LedgerEntry>();
        foreach (LedgerEntry entry in entries)
        {
            if (entry.Taken is not null || oldest.TryAdd(entry.Key, entry))
                continue;
            oldest[entry.Key].Join(entry.From, entry.To, entry.Count);
            isDirty = true;
            Release(entry);
        }

        foreach ((LedgerKey key, LedgerEntry entry) in oldest)
            runs[key] = entry;
    }

    private void Forget(LedgerEntry entry)
    {
        Volatile.Write(ref forgotten, forgotten + 1);
        Release(entry);
    }

    // It stays in the list until its caller has gone through it.
    private void Release(LedgerEntry entry)
    {
        entry.IsGone = true;
        EndRun(entry);
        bytes -= entry.Bytes;
        Volatile.Write(ref waiting, waiting - 1);
        if (entry.JournalId != 0)
            released.Add(entry.JournalId);
    }
}
