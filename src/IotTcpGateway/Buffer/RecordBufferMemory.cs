using System.Diagnostics;

namespace IotTcpGateway.Buffer;

/// <summary>Where the records lie: chunks, the cap, and what happens at it.</summary>
internal sealed partial class RecordBuffer
{
    // Above the high mark devices are told to wait; what is between it and the cap takes the frames already on the way.
    private const int HighMarkPercent = 75;
    private const int LowMarkPercent = 50;

    // What one frame is taken to need when room is promised to windows: small telemetry with its header.
    private const int PromisedFrameBytes = 256;

    private readonly Dictionary<long, RecordChunk> chunks = [];
    private RecordChunk? first;
    private RecordChunk? last;
    private long nextChunkNumber;
    private long memoryBytes;
    private bool isClosed;
    private bool isStarved;
    private bool isShrinkDue;
    private TaskCompletionSource? roomWaiter;

    /// <summary>Bytes of memory taken, in whole chunks.</summary>
    public long MemoryBytes => Volatile.Read(ref memoryBytes);

    /// <summary>Most bytes of memory that it takes.</summary>
    public long MemoryBytesMax { get; }

    /// <summary>Whether devices are told to wait.</summary>
    public bool IsFull => options.WhenFull == WhenFull.Refuse && Volatile.Read(ref isClosed);

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
            first = last = takeChunk = null;
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

    private bool MakeRoomNeedsLock(int bodyBytes, ref List<IStreamOwner>? owners)
    {
        if (last is not null && last.HasRoomFor(bodyBytes))
            return true;
        if (last is { Live: 0 })
            FreeNeedsLock(last);
        while (memoryBytes + RecordChunk.Bytes > MemoryBytesMax)
        {
            if (options.WhenFull != WhenFull.DropOldest || !DropOldestNeedsLock(ref owners))
                return false;
        }

        var chunk = new RecordChunk(nextChunkNumber++) { Previous = last };
        chunks.Add(chunk.Number, chunk);
        if (last is null)
            first = chunk;
        else
            last.Next = chunk;
        last = chunk;
        if (takeChunk is null)
            (takeChunk, takeOffset) = (chunk, 0);
        memoryBytes += RecordChunk.Bytes;
        isClosed |= memoryBytes * 100 > MemoryBytesMax * HighMarkPercent;
        isShrinkDue |= isClosed;
        return true;
    }

    private void ReleaseNeedsLock(RecordChunk chunk)
    {
        if (chunk.Live == 0)
        {
            // The last chunk is kept for what comes next.
            if (chunk != last)
                FreeNeedsLock(chunk);
        }
        else if (isClosed && chunk != last && chunk.IsSparse)
        {
            isShrinkDue = true;
        }
    }

    private void FreeNeedsLock(RecordChunk chunk)
    {
        if (takeChunk == chunk)
            (takeChunk, takeOffset) = (chunk.Next, 0);
        if (chunk.Previous is null)
            first = chunk.Next;
        else
            chunk.Previous.Next = chunk.Next;
        if (chunk.Next is null)
            last = chunk.Previous;
        else
            chunk.Next.Previous = chunk.Previous;
        chunks.Remove(chunk.Number);
        memoryBytes -= chunk.AllocatedBytes;
        chunk.Dispose();
    }

    // Memory comes back in whole chunks: the oldest one without a record in flight goes. If there is none, nothing is
    // dropped in vain.
    private bool DropOldestNeedsLock(ref List<IStreamOwner>? owners)
    {
        RecordChunk? chunk = first;
        while (chunk is { InFlight: > 0 })
            chunk = chunk.Next;
        if (chunk is null)
            return false;
        for (int offset = 0; chunk.Live > 0 && chunk.TryFind(ref offset);)
        {
            ref RecordHeader header = ref chunk.HeaderAt(offset);
            offset += RecordChunk.BytesOf(header.BodyBytes);
            if ((header.Flags & RecordFlags.Settled) != 0)
                continue;
            if (SettleNeedsLock(chunk, ref header, DropReason.BufferFull) is { } owner && owners?[^1] != owner)
                (owners ??= []).Add(owner);
        }

        if (chunk == last)
            FreeNeedsLock(chunk);
        return true;
    }

    // While room is short, a chunk that few records hold on to must not take the memory of many: records of a device
    // whose messages the broker refuses for now would else stop everybody. Only on the taker's thread, whose spans
    // move.
    private void ShrinkIfDueNeedsLock()
    {
        if (!isShrinkDue)
            return;
        isShrinkDue = false;
        for (RecordChunk? chunk = first; chunk is not null && chunk != last; chunk = chunk.Next)
        {
            if (!chunk.IsSparse)
                continue;
            memoryBytes -= chunk.AllocatedBytes;
            chunk.Shrink();
            memoryBytes += chunk.AllocatedBytes;
        }
    }

    private bool ReopenNeedsLock()
    {
        if (!isClosed || memoryBytes * 100 > MemoryBytesMax * LowMarkPercent)
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
