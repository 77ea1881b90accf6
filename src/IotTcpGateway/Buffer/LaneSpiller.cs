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

    /// <summary>Whether the journal cannot be opened, or takes nothing.</summary>
    public bool IsFailed { get; private set; }

    /// <summary>Whether everything that was appended is synced.</summary>
    public bool IsClean => pending.Count == 0;

    /// <summary>How long the last commit took.</summary>
    public TimeSpan LastCommit { get; private set; }

    /// <summary>Appends what is in memory alone, up to the size of a commit; true if there may be more.</summary>
    public bool Append()
    {
        IsFull = false;
        if (IsFailed || !buffer.HasUnspilled(priority))
            return false;
        IsFailed = disk.Lane(priority) is null;
        if (disk.Find(priority) is not { } lane)
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
            IsFull |= result == AppendResult.Full;
            IsFailed |= result == AppendResult.Failed;
            if (result is not AppendResult.Appended)
                return result == AppendResult.CommitFirst;
        }
        while (count == RecordsPerTurn && lane.Journal.PendingBytes < CommitBytes);
        return count == RecordsPerTurn;
    }

    /// <summary>Nothing is to be appended for now.</summary>
    public void Rest() => IsFull = false;

    /// <summary>Asks whether the disk takes what it refused before; what it says now.</summary>
    public (DiskState State, DiskError Error) AskAgain()
    {
        bool isNeeded = IsFailed && buffer.HasUnspilled(priority);
        LaneJournal? lane = isNeeded ? disk.Lane(priority) : disk.Find(priority);
        if (lane is null)
            return isNeeded ? (DiskState.Failed, disk.OpenError) : (DiskState.Healthy, DiskError.None);
        CommitResult result = Commit(lane);
        IsFailed = result.State == JournalState.Failed;
        return IsFull && result.State == JournalState.Healthy
            ? (DiskState.Full, DiskError.None)
            : (DiskStatus.Of(result.State), result.Error);
    }

    /// <summary>Whether it is time for a commit.</summary>
    public bool IsCommitDue(bool isAtOnce) => pending.Count > 0 && disk.Find(priority) is { } lane
        && (isAtOnce || lane.Journal.PendingBytes >= CommitBytes || time.GetElapsedTime(pendingSince) >= CommitInterval);

    /// <summary>Makes durable what was appended, and tells the buffer.</summary>
    public CommitResult Commit() => Commit(disk.Find(priority)!);

    // Also of nothing: then it asks whether the disk is back.
    private CommitResult Commit(LaneJournal lane)
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
