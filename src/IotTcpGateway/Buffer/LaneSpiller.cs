using System.Runtime.InteropServices;

using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>
/// Spills one lane: appends in batches, commits by time and size, and tells the buffer what is safe. For the spilling
/// thread.
/// </summary>
internal sealed class LaneSpiller(int priority, RecordBuffer buffer, BufferDisk disk, TimeProvider time)
{
    /// <summary>A commit is made at once from this size on.</summary>
    public const int CommitBytes = 256 << 10;

    /// <summary>No record waits longer for its commit.</summary>
    public static readonly TimeSpan CommitInterval = TimeSpan.FromMilliseconds(50);

    // Ingest waits while so many are copied.
    private const int RecordsPerTurn = 64;

    private readonly List<SpilledRecord> pending = [];
    private long pendingSince;

    public int Priority => priority;

    /// <summary>Whether the journal took no more for want of room.</summary>
    public bool IsFull { get; private set; }

    /// <summary>Whether everything that was appended is synced.</summary>
    public bool IsClean => pending.Count == 0;

    /// <summary>How long the last commit took.</summary>
    public TimeSpan LastCommit { get; private set; }

    /// <summary>Appends what is in memory alone, up to the size of a commit; true if there may be more.</summary>
    public bool Append()
    {
        IsFull = false;
        if (!buffer.HasUnspilled(priority) || disk.Lane(priority) is not { } lane)
            return false;
        int count;
        do
        {
            if (!disk.HasRoom(priority, CommitBytes))
            {
                IsFull = true;
                return false;
            }

            count = buffer.Spill(priority, RecordsPerTurn, pending, out AppendResult result);
            if (count > 0 && pendingSince == 0)
                pendingSince = time.GetTimestamp();
            if (result == AppendResult.Full)
                IsFull = true;
            if (result is not AppendResult.Appended)
                return result == AppendResult.CommitFirst;
        }
        while (count == RecordsPerTurn && lane.Journal.PendingBytes < CommitBytes);
        return count == RecordsPerTurn;
    }

    /// <summary>Nothing is to be appended for now.</summary>
    public void Rest() => IsFull = false;

    /// <summary>Commits if it is time; null if it was not.</summary>
    public CommitResult? CommitIfDue(bool isAtOnce)
    {
        if (pending.Count == 0 || disk.Find(priority) is not { } lane)
            return null;
        bool isDue = isAtOnce || lane.Journal.PendingBytes >= CommitBytes
            || time.GetElapsedTime(pendingSince) >= CommitInterval;
        return isDue ? Commit(lane) : null;
    }

    /// <summary>Commits, also nothing: then it asks whether the disk is back.</summary>
    public CommitResult Commit(LaneJournal lane)
    {
        long since = time.GetTimestamp();
        CommitResult result = lane.Commit();
        LastCommit = time.GetElapsedTime(since);
        int synced = 0;
        while (synced < pending.Count && pending[synced].Id <= result.SyncedThrough)
            synced++;
        buffer.Synced(CollectionsMarshal.AsSpan(pending)[..synced]);
        pending.RemoveRange(0, synced);
        pendingSince = pending.Count == 0 ? 0 : time.GetTimestamp();
        return result;
    }
}
