using System.Diagnostics;

namespace IotTcpGateway.Buffer;

/// <summary>Where the records lie: chunks, the cap, and what happens at it.</summary>
internal sealed partial class RecordBuffer
{
    // Above the high mark devices are told to wait; what is between it and the cap takes the frames already on the way.
    // Above the low mark records are spilled, and what is on disk leaves memory.
    private const int HighMarkPercent = 75;
    private const int LowMarkPercent = 50;

    // What one frame is taken to need when room is promised to windows: small telemetry with its header.
    private const int PromisedFrameBytes = 256;

    private readonly Dictionary<long, RecordChunk> chunks = [];
    private long nextChunkNumber;
    private long memoryBytes;
    private long pageBytes;
    private bool isClosed;
    private bool isStarved;
    private bool isShrinkDue;
    private TaskCompletionSource? roomWaiter;

    /// <summary>Bytes of memory taken, in whole chunks.</summary>
    public long MemoryBytes => Volatile.Read(ref memoryBytes);

    /// <summary>Most bytes of memory that it takes.</summary>
    public long MemoryBytesMax { get; }

    /// <summary>Of these, what is kept for reading the backlog from disk.</summary>
    public long PageBytesMax { get; }

    /// <summary>Whether devices are told to wait.</summary>
    public bool IsFull => options.WhenFull == WhenFull.Refuse && Volatile.Read(ref isClosed);

    private long ArrivalBytes => memoryBytes - pageBytes;

    private long ArrivalBytesMax => MemoryBytesMax - PageBytesMax;

    private bool IsAboveMarkNeedsLock => ArrivalBytes * 100 > ArrivalBytesMax * LowMarkPercent;

    /// <summary>How many DATA frames a device may have outstanding now; 0 while the buffer is full.</summary>
    /// <param name="windowMax">The listener's largest window.</param>
    /// <param name="sessions">Sessions that share the room.</param>
    public ushort WindowFor(int windowMax, int sessions)
    {
        if (options.WhenFull != WhenFull.Refuse)
            return (ushort)windowMax;
        if (IsFull)
            return 0;
        // Half of what is free is promised; at least 1 or nobody would move. A promise that turns out too large ends
        // in reading that pauses, not in frames lost.
        long free = MemoryBytesMax - MemoryBytes;
        long share = free / 2 / (PromisedFrameBytes * Math.Max(sessions, 1L));
        return (ushort)Math.Clamp(share, 1, windowMax);
    }

    /// <summary>Completes when it is worth another try after <see cref="AddResult.Full"/>.</summary>
    public Task RoomAsync()
    {
        lock (gate)
        {
            if (!isStarved)
                return Task.CompletedTask;
            roomWaiter ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return roomWaiter.Task;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (gate)
        {
            foreach (RecordChunk chunk in chunks.Values)
                chunk.Dispose();
            chunks.Clear();
        }
    }

    private static int OffsetOf(long handle) => (int)(handle & (RecordChunk.Bytes - 1));

    private static long HandleOf(RecordChunk chunk, int offset) =>
        (chunk.Number << RecordChunk.ShiftBits) | (uint)offset;

    private RecordChunk ChunkOf(long handle) =>
        chunks.TryGetValue(handle >> RecordChunk.ShiftBits, out RecordChunk? chunk)
            ? chunk
            : throw new UnreachableException($"record {handle} was settled before");

    private ref RecordHeader HeaderOf(long handle) => ref ChunkOf(handle).HeaderAt(OffsetOf(handle));

    private bool MakeRoomNeedsLock(Lane lane, int bodyBytes, ref List<IStreamOwner>? owners)
    {
        if (lane.Last is not null && lane.Last.HasRoomFor(bodyBytes))
            return true;
        if (lane.Last is { Live: 0, IsOnDisk: false } empty && empty != lane.Page)
            FreeNeedsLock(empty);
        while (ArrivalBytes + RecordChunk.Bytes > ArrivalBytesMax)
        {
            if (TryFreeEmptyNeedsLock() || TryEvictNeedsLock(mayTakeNext: true))
                continue;
            if (options.WhenFull != WhenFull.DropOldest || !DropOldestNeedsLock(lane.Priority, ref owners))
                return false;
        }

        lane.Append(NewChunkNeedsLock(lane, isPage: false));
        isClosed |= ArrivalBytes * 100 > ArrivalBytesMax * HighMarkPercent;
        isShrinkDue |= isClosed;
        return true;
    }

    private RecordChunk NewChunkNeedsLock(Lane lane, bool isPage)
    {
        var chunk = new RecordChunk(lane, nextChunkNumber++) { IsPage = isPage, IsReadBack = isPage };
        chunks.Add(chunk.Number, chunk);
        memoryBytes += RecordChunk.Bytes;
        if (isPage)
            pageBytes += RecordChunk.Bytes;
        return chunk;
    }

    // Each lane keeps its last chunk for what comes next, even with nothing in it.
    private bool TryFreeEmptyNeedsLock()
    {
        foreach (Lane lane in lanes)
        {
            if (lane.Last is not { Live: 0, IsOnDisk: false } empty || empty == lane.Page)
                continue;
            FreeNeedsLock(empty);
            return true;
        }

        return false;
    }

    private void ReleaseNeedsLock(RecordChunk chunk)
    {
        if (chunk.Live == 0)
        {
            // The last chunk is kept for what comes next, unless devices wait for memory.
            if (chunk != chunk.Lane.Page && (chunk != chunk.Lane.Last || chunk.IsPage || isClosed))
                FreeNeedsLock(chunk);
        }
        else if (isClosed && chunk != chunk.Lane.Last && chunk.IsSparse)
        {
            isShrinkDue = true;
        }
    }

    private void FreeNeedsLock(RecordChunk chunk)
    {
        chunk.Lane.Remove(chunk);
        chunks.Remove(chunk.Number);
        CountMemoryNeedsLock(chunk, -chunk.AllocatedBytes);
        chunk.Dispose();
    }

    private void CountMemoryNeedsLock(RecordChunk chunk, long bytes)
    {
        memoryBytes += bytes;
        if (chunk.IsPage)
            pageBytes += bytes;
    }

    // Memory comes back in whole chunks: the oldest one without a record in flight goes, of what matters least. If
    // there is none, nothing is dropped in vain.
    private bool DropOldestNeedsLock(int priorityMax, ref List<IStreamOwner>? owners)
    {
        for (int priority = 1; priority <= priorityMax; priority++)
        {
            Lane lane = LaneAt(priority);
            RecordChunk? chunk = lane.First;
            while (chunk is not null && (chunk.InFlight > 0 || chunk.IsOnDisk || chunk.IsPage || chunk.Live == 0))
                chunk = chunk.Next;
            if (chunk is null)
                continue;
            DropAllNeedsLock(chunk, DropReason.BufferFull, ref owners);
            if (!chunk.IsOnDisk)
                FreeNeedsLock(chunk);
            return true;
        }

        return false;
    }

    private void DropAllNeedsLock(RecordChunk chunk, DropReason reason, ref List<IStreamOwner>? owners)
    {
        for (int offset = 0; chunk.Live > 0 && chunk.TryFind(ref offset);)
        {
            ref RecordHeader header = ref chunk.HeaderAt(offset);
            offset += RecordChunk.BytesOf(header.BodyBytes);
            if ((header.Flags & RecordFlags.Settled) != 0)
                continue;
            if (SettleNeedsLock(chunk, ref header, reason) is { } owner && owners?[^1] != owner)
                (owners ??= []).Add(owner);
        }
    }

    // While room is short, a chunk that few records hold on to must not take the memory of many: records of a device
    // whose messages the broker refuses for now would else stop everybody. Only on the taker's thread, whose spans
    // move.
    private void ShrinkIfDueNeedsLock()
    {
        if (!isShrinkDue)
            return;
        isShrinkDue = false;
        foreach (Lane lane in lanes)
        {
            for (RecordChunk? chunk = lane.First; chunk is not null; chunk = chunk.Next)
            {
                bool isAppendedTo = chunk == lane.Page || (chunk == lane.Last && !chunk.IsClosed);
                if (chunk.IsOnDisk || isAppendedTo || chunk.Live == 0 || !chunk.IsSparse)
                    continue;
                CountMemoryNeedsLock(chunk, -chunk.AllocatedBytes);
                chunk.Shrink();
                // What is left of a page waits for the broker like anything else, and makes room for the next page.
                chunk.IsPage &= ArrivalBytes + chunk.AllocatedBytes > ArrivalBytesMax;
                CountMemoryNeedsLock(chunk, chunk.AllocatedBytes);
            }
        }
    }

    private bool ReopenNeedsLock()
    {
        // What each lane keeps for what comes next holds nobody up.
        while (isClosed && IsAboveMarkNeedsLock && TryFreeEmptyNeedsLock())
        {
        }

        if (!isClosed || ArrivalBytes * 100 > ArrivalBytesMax * LowMarkPercent)
            return false;
        isClosed = false;
        return true;
    }

    private TaskCompletionSource? TakeRoomWaiterNeedsLock()
    {
        isStarved = false;
        TaskCompletionSource? waiter = roomWaiter;
        roomWaiter = null;
        return waiter;
    }
}
