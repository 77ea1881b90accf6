namespace IotTcpGateway.Buffer;

/// <summary>What the forwarder takes, and in which order.</summary>
internal sealed partial class RecordBuffer
{
    // Whose turn it is first: what matters more goes more often, and nobody starves.
    private static readonly int[] LaneTurns = [3, 3, 2, 3, 3, 2, 1];

    private readonly Lane[] lanes = [new(1), new(2), new(3)];
    private int laneTurn;
    private int backlogCredit;
    private bool isPageWanted;

    /// <summary>
    /// The link is up. When live records go first, what there is of a backlog on disk goes behind them.
    /// </summary>
    public void BeginTaking()
    {
        if (options.Drain != DrainOrder.LiveFirst)
            return;
        lock (gate)
        {
            foreach (Lane lane in lanes)
            {
                if (lane.Synced > 0)
                    BeginLiveNeedsLock(lane);
            }
        }
    }

    /// <summary>The next record in order that is neither with the forwarder nor settled.</summary>
    /// <param name="record">The record; its memory is valid until the taker's next call.</param>
    /// <param name="isBacklogAllowed">Whether one may be taken that is on disk: its pace may be limited.</param>
    public bool TryTake(out BufferedRecord record, bool isBacklogAllowed = true)
    {
        bool isThere, isPageDue;
        lock (gate)
        {
            ShrinkIfDueNeedsLock();
            isThere = TryTakeNeedsLock(isBacklogAllowed, out record);
            isPageDue = isPageWanted;
            isPageWanted = false;
        }

        if (isPageDue)
            PageDue?.Invoke();
        return isThere;
    }

    /// <summary>A record taken before, to publish it again.</summary>
    public BufferedRecord Read(RecordHandle handle)
    {
        lock (gate)
            return ViewNeedsLock(ChunkOf(handle.Value), OffsetOf(handle.Value));
    }

    /// <summary>The link was lost: everything unsettled is to be taken again, oldest first.</summary>
    public void Rewind()
    {
        TaskCompletionSource? room;
        lock (gate)
        {
            foreach (Lane lane in lanes)
                RewindNeedsLock(lane);
            room = TakeRoomWaiterNeedsLock();
        }

        room?.TrySetResult();
    }

    private void RewindNeedsLock(Lane lane)
    {
        for (RecordChunk? chunk = lane.First; chunk is not null; chunk = chunk.Next)
        {
            chunk.InFlight = 0;
            for (int offset = 0; chunk.TryFind(ref offset);)
            {
                ref RecordHeader header = ref chunk.HeaderAt(offset);
                offset += RecordChunk.BytesOf(header.BodyBytes);
                // What goes to quarantine stays out of the way.
                if ((header.Flags & (RecordFlags.Quarantined | RecordFlags.Settled)) == RecordFlags.Quarantined)
                    chunk.InFlight++;
                else
                    header.Flags &= ~(RecordFlags.Taken | RecordFlags.Backfill);
            }
        }

        lane.IsLiveFirst = false;
        lane.LiveFrom = null;
        lane.Live.MoveTo(null);
        lane.Take.MoveTo(lane.First);
        BringBackAllNeedsLock(lane);
    }

    // From here on new records begin a chunk of their own, which is taken from first.
    private static void BeginLiveNeedsLock(Lane lane)
    {
        if (lane.Last is { IsOnDisk: false } last)
            last.IsClosed = true;
        lane.IsLiveFirst = true;
        lane.LiveFrom = null;
        lane.Live.MoveTo(null);
    }

    private bool TryTakeNeedsLock(bool isBacklogAllowed, out BufferedRecord record)
    {
        laneTurn = (laneTurn + 1) % LaneTurns.Length;
        int first = LaneTurns[laneTurn];
        if (TryTakeNeedsLock(LaneAt(first), isBacklogAllowed, out record))
            return true;
        for (int priority = lanes.Length; priority > 0; priority--)
        {
            if (priority != first && TryTakeNeedsLock(LaneAt(priority), isBacklogAllowed, out record))
                return true;
        }

        return false;
    }

    private bool TryTakeNeedsLock(Lane lane, bool isBacklogAllowed, out BufferedRecord record)
    {
        record = default;
        if (lane.First is null)
            return false;
        if (!lane.IsLiveFirst)
            return TryTakeAtNeedsLock(lane, lane.Take, end: null, isBacklogAllowed, out record);
        backlogCredit += options.DrainShare;
        bool isBacklogsTurn = backlogCredit >= 100;
        if (isBacklogsTurn)
            backlogCredit -= 100;
        return isBacklogsTurn
            ? TryTakeBacklogNeedsLock(lane, isBacklogAllowed, out record)
                || TryTakeLiveNeedsLock(lane, out record)
            : TryTakeLiveNeedsLock(lane, out record)
                || TryTakeBacklogNeedsLock(lane, isBacklogAllowed, out record);
    }

    private bool TryTakeLiveNeedsLock(Lane lane, out BufferedRecord record)
    {
        record = default;
        if (!lane.IsLiveFirst)
            return false;
        if (TryTakeAtNeedsLock(lane, lane.Live, end: null, true, out record))
            return true;
        // What had to be put on disk is live no more.
        if (lane.Live.Chunk is { IsOnDisk: true })
            BeginLiveNeedsLock(lane);
        return false;
    }

    private bool TryTakeBacklogNeedsLock(
        Lane lane, bool isBacklogAllowed, out BufferedRecord record)
    {
        if (TryTakeAtNeedsLock(lane, lane.Take, lane.LiveFrom, isBacklogAllowed, out record))
            return true;
        if (lane.Take.Chunk is null || lane.Take.Chunk == lane.LiveFrom)
        {
            // The backlog is taken: from now on there is one order again.
            lane.Take.Chunk = lane.Live.Chunk;
            lane.Take.Offset = lane.Live.Offset;
            lane.IsLiveFirst = false;
            lane.LiveFrom = null;
            lane.Live.MoveTo(null);
        }

        return false;
    }

    private bool TryTakeAtNeedsLock(
        Lane lane,
        LaneCursor cursor,
        RecordChunk? end,
        bool isBacklogAllowed,
        out BufferedRecord record)
    {
        const RecordFlags notToTake = RecordFlags.Taken | RecordFlags.Settled;
        record = default;
        while (cursor.Chunk is { } chunk && chunk != end)
        {
            if (chunk.IsOnDisk)
            {
                isPageWanted = true;
                return false;
            }

            for (int offset = cursor.Offset; chunk.TryFind(ref offset); offset = cursor.Offset)
            {
                ref RecordHeader header = ref chunk.HeaderAt(offset);
                if ((header.Flags & notToTake) == 0)
                {
                    if (!isBacklogAllowed && (header.Flags & RecordFlags.Synced) != 0)
                        return false;
                    cursor.Offset = offset + RecordChunk.BytesOf(header.BodyBytes);
                    header.Flags |= RecordFlags.Taken;
                    if (lane.IsLiveFirst && cursor == lane.Take)
                        header.Flags |= RecordFlags.Backfill;
                    chunk.InFlight++;
                    record = ViewNeedsLock(chunk, offset);
                    return true;
                }

                cursor.Offset = offset + RecordChunk.BytesOf(header.BodyBytes);
            }

            // What is still appended to is not left behind.
            if (chunk.Next is null || chunk == lane.Page)
                return false;
            cursor.MoveTo(chunk.Next);
            isPageWanted |= lane.OnDisk > 0;
        }

        return false;
    }

    private BufferedRecord ViewNeedsLock(RecordChunk chunk, int offset)
    {
        ref RecordHeader header = ref chunk.HeaderAt(offset);
        return new BufferedRecord
        {
            Handle = new RecordHandle(HandleOf(chunk, offset)),
            Stream = streams[header.StreamSlot],
            Sequence = header.Sequence,
            Channels = tables.At(header.TableSlot),
            Arrival = new Arrival(
                header.ArrivalUnixMilliseconds,
                header.ArrivalMicroseconds,
                (header.Flags & RecordFlags.Synchronised) != 0),
            IsBackfill = (header.Flags & RecordFlags.Backfill) != 0,
            IsSynced = (header.Flags & RecordFlags.Synced) != 0,
            Body = chunk.BodyAt(offset),
        };
    }

    private Lane LaneAt(int priority) => lanes[priority - 1];

    private Lane LaneOf(DeviceStream stream) => LaneAt(stream.Priority);
}
