using System.Diagnostics;

using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>What comes back from disk, and what is given up there.</summary>
internal sealed partial class RecordBuffer
{
    // So many chunks are ready for the forwarder while the next one is read.
    private const int ReadAheadChunks = 4;

    /// <summary>The forwarder came nearer to what is on disk alone; called outside the lock.</summary>
    public event Action? PageDue;

    /// <summary>
    /// Begins a page of a lane: the oldest records that are on disk alone, to be handed over by <see cref="PageIn"/>
    /// and <see cref="PassOver"/> in order of their ids, until <see cref="EndPage"/>.
    /// </summary>
    /// <param name="priority">The lane.</param>
    /// <param name="ids">What to read; some of it may be settled.</param>
    /// <param name="only">If set, what is not among these is passed over.</param>
    /// <returns>Whether there is one, and memory for it.</returns>
    public bool TryBeginPage(int priority, out IdRange ids, out AsideRecords? only)
    {
        bool isBegun, isShrinkWanted;
        lock (gate)
        {
            isShrinkWanted = false;
            isBegun = TryBeginPageNeedsLock(LaneAt(priority), out ids, out only, ref isShrinkWanted);
        }

        // Spans move on the taker's thread alone.
        if (isShrinkWanted)
            Added?.Invoke();
        return isBegun;
    }

    /// <summary>
    /// Takes a record back into memory; false when the page is full, then it is the next page's first.
    /// </summary>
    public bool PageIn(int priority, in SpilledFrame frame, string deviceId, ChannelTable channels, long id)
    {
        lock (gate)
        {
            Lane lane = LaneAt(priority);
            RecordChunk page = lane.Page ?? throw new UnreachableException("no page was begun");
            if (waitingDevices.Count > 0 && waitingDevices.Contains(deviceId))
            {
                lane.Aside.Add(deviceId, id);
                page.Next!.RecordsOnDisk--;
                PassOverNeedsLock(page.Next, id);
                return true;
            }

            if (!page.HasRoomFor(frame.Body.Length))
                return false;
            if (!streamsByKey.TryGetValue((deviceId, frame.BootId), out DeviceStream? stream))
            {
                stream = OpenNeedsLock(deviceId, frame.BootId, priority);
                stream.IsForgotten = true;
            }

            page.Append(
                new RecordHeader
                {
                    ArrivalUnixMilliseconds = frame.Arrival.UnixMilliseconds,
                    ArrivalMicroseconds = frame.Arrival.MonotonicMicroseconds,
                    NextOfStream = DeviceStream.NoRecord,
                    PreviousOfStream = DeviceStream.NoRecord,
                    JournalId = id,
                    Sequence = frame.Sequence,
                    StreamSlot = stream.Slot,
                    TableSlot = tables.Hold(channels),
                    BodyBytes = checked((ushort)frame.Body.Length),
                    Flags = RecordFlags.Synced
                        | (frame.Arrival.IsSynchronised ? RecordFlags.Synchronised : RecordFlags.None),
                },
                frame.Body);
            page.Synced++;
            stream.Outstanding++;
            lane.OnDisk--;
            page.Next!.RecordsOnDisk--;
            PassOverNeedsLock(page.Next, id);
            return true;
        }
    }

    /// <summary>There is nothing to take up to this id.</summary>
    public void PassOver(int priority, long id)
    {
        lock (gate)
            PassOverNeedsLock(LaneAt(priority).Page!.Next!, id);
    }

    /// <summary>
    /// Before the end of a page that passed over damage: if it was the last of its place on disk, names the records
    /// behind it in memory, as far as the next that are on disk.
    /// </summary>
    /// <returns>Whether nothing on disk is left behind it.</returns>
    public bool SeeBehindPage(int priority, Action<string, uint, uint> seen)
    {
        lock (gate)
        {
            RecordChunk onDisk = LaneAt(priority).Page!.Next!;
            if (!onDisk.Ids.IsEmpty)
                return false;
            for (RecordChunk? chunk = onDisk.Next; chunk is not null; chunk = chunk.Next)
            {
                if (chunk.IsOnDisk)
                    return false;
                for (int offset = 0; chunk.TryFind(ref offset);)
                {
                    ref RecordHeader header = ref chunk.HeaderAt(offset);
                    offset += RecordChunk.BytesOf(header.BodyBytes);
                    if ((header.Flags & RecordFlags.Settled) != 0)
                        continue;
                    DeviceStream stream = streams[header.StreamSlot];
                    seen(stream.DeviceId, stream.BootId, header.Sequence);
                }
            }

            return true;
        }
    }

    /// <summary>The highest sequence taken of a boot; 0 if nothing is known of it.</summary>
    public uint HighestTakenOf(string deviceId, uint bootId)
    {
        lock (gate)
            return streamsByKey.GetValueOrDefault((deviceId, bootId))?.HighestTaken ?? 0;
    }

    /// <summary>Ends a page.</summary>
    /// <returns>Records that should have been on disk and were not found: they are lost.</returns>
    public long EndPage(int priority)
    {
        long lost = 0;
        lock (gate)
        {
            Lane lane = LaneAt(priority);
            RecordChunk page = lane.Page ?? throw new UnreachableException("no page was begun");
            RecordChunk onDisk = page.Next!;
            lane.Page = null;
            page.IsClosed = true;
            if (onDisk.Ids.IsEmpty)
            {
                lost = Math.Max(onDisk.RecordsOnDisk, 0);
                ForgetOnDiskNeedsLock(lane, onDisk, onDisk.RecordsOnDisk);
                lane.Remove(onDisk);
            }

            if (page.Live == 0)
                FreeNeedsLock(page);
        }

        Added?.Invoke();
        return lost;
    }

    /// <summary>
    /// Begins to give up a lane's records up to an id; what is in flight is spared until its fate is known. False
    /// while a page is being read.
    /// </summary>
    public bool TryDoom(int priority, long throughId)
    {
        lock (gate)
        {
            Lane lane = LaneAt(priority);
            if (lane.Page is not null)
                return false;
            BringBackAllNeedsLock(lane);
            lane.DoomedThrough = Math.Max(lane.DoomedThrough, throughId);
            return true;
        }
    }

    /// <summary>Gives up what is doomed and in memory, and not in flight.</summary>
    /// <param name="priority">The lane.</param>
    /// <param name="reason">Why.</param>
    /// <param name="onDisk">What is doomed and on disk alone; empty if nothing is.</param>
    /// <param name="only">If set, what is not among these is none of it.</param>
    /// <returns>Whether nothing that is doomed is left.</returns>
    public bool DropDoomed(int priority, DropReason reason, out IdRange onDisk, out AsideRecords? only)
    {
        List<IStreamOwner>? owners = null;
        bool isDone;
        long dropped;
        lock (gate)
        {
            long before = DroppedRecords;
            Lane lane = LaneAt(priority);
            onDisk = new IdRange(1, 0);
            only = null;
            isDone = true;
            for (RecordChunk? chunk = lane.First, next; chunk is not null; chunk = next)
            {
                next = chunk.Next;
                if (chunk.IsOnDisk && chunk.Ids.First <= lane.DoomedThrough && onDisk.IsEmpty)
                {
                    onDisk = chunk.Ids with { Last = Math.Min(chunk.Ids.Last, lane.DoomedThrough) };
                    only = chunk.Only;
                }

                isDone &= chunk.IsOnDisk || DropDoomedNeedsLock(chunk, lane.DoomedThrough, reason, ref owners);
            }

            dropped = DroppedRecords - before;
            isDone &= onDisk.IsEmpty;
        }

        if (dropped > 0)
            CountDropped(dropped, reason);
        Tell(owners);
        return isDone;
    }

    /// <summary>Records that were on disk alone are given up: the caller has read and reported them.</summary>
    /// <returns>How many more there should have been.</returns>
    public long ForgetOnDisk(int priority, IdRange ids, long records, DropReason reason)
    {
        long lost = 0;
        lock (gate)
        {
            Lane lane = LaneAt(priority);
            for (RecordChunk? chunk = lane.First; chunk is not null; chunk = chunk.Next)
            {
                if (!chunk.IsOnDisk || chunk.Ids.First != ids.First)
                    continue;
                PassOverNeedsLock(chunk, ids.Last);
                if (chunk.Ids.IsEmpty)
                    lost = Math.Max(chunk.RecordsOnDisk - records, 0);
                ForgetOnDiskNeedsLock(lane, chunk, chunk.Ids.IsEmpty ? chunk.RecordsOnDisk : records);
                DroppedRecords += records;
                if (chunk.Ids.IsEmpty)
                    lane.Remove(chunk);
                break;
            }
        }

        if (records > 0)
            CountDropped(records, reason);
        return lost;
    }

    /// <summary>Nothing that was doomed is left.</summary>
    public void EndDoom(int priority)
    {
        TaskCompletionSource? room;
        bool reopened;
        lock (gate)
        {
            LaneAt(priority).DoomedThrough = 0;
            reopened = ReopenNeedsLock();
            room = isClosed ? null : TakeRoomWaiterNeedsLock();
        }

        if (reopened)
            Reopened?.Invoke();
        room?.TrySetResult();
        PageDue?.Invoke();
    }

    /// <summary>Gives up what is in memory alone and arrived before a time; for when the disk takes nothing.</summary>
    public void DropExpired(long beforeMicroseconds)
    {
        List<IStreamOwner>? owners = null;
        long dropped;
        lock (gate)
        {
            long before = DroppedRecords;
            foreach (Lane lane in lanes)
            {
                for (RecordChunk? chunk = lane.First, next; chunk is not null; chunk = next)
                {
                    next = chunk.Next;
                    if (!chunk.IsPage && !DropExpiredNeedsLock(chunk, beforeMicroseconds, ref owners))
                        break;
                }
            }

            dropped = DroppedRecords - before;
        }

        if (dropped > 0)
            CountDropped(dropped, DropReason.Expired);
        Tell(owners);
    }

    /// <summary>Records were lost by damage.</summary>
    public void CountLost(long records)
    {
        if (records == 0)
            return;
        lock (gate)
            DroppedRecords += records;
        CountDropped(records, DropReason.Damaged);
    }

    private static void PassOverNeedsLock(RecordChunk onDisk, long id) =>
        onDisk.Ids = onDisk.Ids with { First = Math.Max(onDisk.Ids.First, id + 1) };

    private bool HasPageMemoryNeedsLock(RecordChunk wanted, ref bool isShrinkWanted)
    {
        if (pageBytes + RecordChunk.Bytes <= PageBytesMax)
            return true;
        // Pages behind what is wanted cannot be taken before it: what came back in front of them goes first.
        for (RecordChunk? chunk = wanted.Lane.Last; chunk is not null && chunk != wanted; chunk = chunk.Previous)
        {
            if (chunk.IsPage && IsEvictable(chunk))
            {
                EvictNeedsLock(chunk.Lane, chunk);
                return pageBytes + RecordChunk.Bytes <= PageBytesMax;
            }
        }

        // What waits in pages for the broker to take it, in few records, shall not keep others from coming.
        isShrinkWanted = chunks.Values.Any(c => c is { IsPage: true, Live: > 0, IsSparse: true } && c != c.Lane.Page);
        isShrinkDue |= isShrinkWanted;
        return false;
    }

    private bool TryBeginPageNeedsLock(Lane lane, out IdRange ids, out AsideRecords? only, ref bool isShrinkWanted)
    {
        ids = default;
        only = null;
        if (lane.Page is not null || lane.DoomedThrough > 0)
            return false;
        RecordChunk? onDisk = lane.NextOnDisk(out int chunksBefore);
        if (onDisk is null || chunksBefore > ReadAheadChunks || !HasPageMemoryNeedsLock(onDisk, ref isShrinkWanted))
            return false;
        ids = onDisk.Ids;
        only = onDisk.Only;
        lane.Page = NewChunkNeedsLock(lane, isPage: true);
        lane.InsertBefore(lane.Page, onDisk);
        return true;
    }

    private void ForgetOnDiskNeedsLock(Lane lane, RecordChunk onDisk, long records)
    {
        onDisk.RecordsOnDisk -= records;
        lane.OnDisk -= records;
        lane.Synced -= records;
        lane.Records -= records;
        Records -= records;
    }

    // True if nothing doomed is left in the chunk.
    private bool DropDoomedNeedsLock(
        RecordChunk chunk, long throughId, DropReason reason, ref List<IStreamOwner>? owners)
    {
        bool isDone = true;
        for (int offset = 0; chunk.Live > 0 && chunk.TryFind(ref offset);)
        {
            ref RecordHeader header = ref chunk.HeaderAt(offset);
            offset += RecordChunk.BytesOf(header.BodyBytes);
            if ((header.Flags & RecordFlags.Settled) != 0 || header.JournalId == 0 || header.JournalId > throughId)
                continue;
            if ((header.Flags & RecordFlags.Taken) != 0)
                isDone = false;
            else if (SettleNeedsLock(chunk, ref header, reason) is { } owner && owners?[^1] != owner)
                (owners ??= []).Add(owner);
        }

        return isDone;
    }

    // False at the first record that is young enough: those behind it are younger.
    private bool DropExpiredNeedsLock(RecordChunk chunk, long beforeMicroseconds, ref List<IStreamOwner>? owners)
    {
        for (int offset = 0; chunk.TryFind(ref offset);)
        {
            ref RecordHeader header = ref chunk.HeaderAt(offset);
            offset += RecordChunk.BytesOf(header.BodyBytes);
            if ((header.Flags & RecordFlags.Settled) != 0)
                continue;
            if (header.ArrivalMicroseconds >= beforeMicroseconds)
                return false;
            if ((header.Flags & RecordFlags.Taken) == 0 && header.JournalId == 0
                && SettleNeedsLock(chunk, ref header, DropReason.Expired) is { } owner && owners?[^1] != owner)
            {
                (owners ??= []).Add(owner);
            }

            if (chunk.Live == 0)
                break;
        }

        return true;
    }
}
