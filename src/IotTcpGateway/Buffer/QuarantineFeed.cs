using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>
/// Takes what the broker refused for good to the quarantine; what it cannot take is dropped. For the spilling thread.
/// </summary>
internal sealed class QuarantineFeed(RecordBuffer buffer, BufferDisk disk)
{
    private readonly List<SpilledRecord> pending = [];
    private long quarantined;

    /// <summary>Frames put into quarantine since the start.</summary>
    public long Quarantined => Volatile.Read(ref quarantined);

    public void Step()
    {
        while (buffer.HasRefused)
        {
            long id = 0;
            AppendResult result = disk.OpenQuarantine() is { } quarantine
                ? Append(quarantine, out id)
                : AppendResult.Failed;
            RecordHandle handle = buffer.TakeRefused();
            if (result == AppendResult.Appended)
                pending.Add(new SpilledRecord(handle, id));
            else
                buffer.Drop(handle, DropReason.Refused);
        }

        if (pending.Count > 0)
            Commit(disk.Quarantine!);
    }

    private AppendResult Append(LaneJournal quarantine, out long id)
    {
        AppendResult result = buffer.AppendRefused(quarantine, out id);
        if (result == AppendResult.CommitFirst)
        {
            Commit(quarantine);
            result = buffer.AppendRefused(quarantine, out id);
        }

        // The newest are what somebody will look at.
        if (result == AppendResult.Full)
            quarantine.Journal.DropOldest(out _);
        // A disk that refused may be back: it says so when asked.
        if (result is AppendResult.Full or AppendResult.Failed)
        {
            quarantine.Commit();
            result = buffer.AppendRefused(quarantine, out id);
        }

        return result;
    }

    private void Commit(LaneJournal quarantine)
    {
        CommitResult result = quarantine.Commit();
        foreach (SpilledRecord one in pending)
        {
            if (one.Id <= result.SyncedThrough)
            {
                Volatile.Write(ref quarantined, quarantined + 1);
                buffer.Quarantined(one.Handle);
            }
            else
            {
                buffer.Drop(one.Handle, DropReason.Refused);
            }
        }

        pending.Clear();
    }
}
