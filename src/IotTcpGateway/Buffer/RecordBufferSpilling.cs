using System.Diagnostics.CodeAnalysis;

using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>A record in memory that was appended to its lane's journal.</summary>
/// <param name="Handle">Where it lies in memory.</param>
/// <param name="Id">Where it will be on disk.</param>
internal readonly record struct SpilledRecord(RecordHandle Handle, long Id);

/// <summary>How much of a lane is where.</summary>
/// <param name="Records">Records not settled.</param>
/// <param name="Synced">Of these, on disk.</param>
/// <param name="OnDisk">Of these, on disk alone.</param>
internal readonly record struct LaneFill(long Records, long Synced, long OnDisk);

/// <summary>What the spilling thread does: from memory to disk, and out of memory.</summary>
internal sealed partial class RecordBuffer
{
    /// <summary>Memory is above its mark, or a record is to go to quarantine; called outside the lock.</summary>
    public event Action? SpillDue;

    private readonly Queue<(RecordHandle Handle, string Reason)> toQuarantine = new();

    /// <summary>Where refused records can go; without it they are dropped at once.</summary>
    public bool HasQuarantine { get; set; }

    public LaneFill FillOf(int priority)
    {
        lock (gate)
        {
            Lane lane = LaneAt(priority);
            return new LaneFill(lane.Records, lane.Synced, lane.OnDisk);
        }
    }

    /// <summary>Gives a lane its journal, and what that has from before the start.</summary>
    public void Attach(int priority, ISpillTarget target, IdRange onDisk, long recordsOnDisk)
    {
        lock (gate)
        {
            Lane lane = LaneAt(priority);
            lane.Target = target;
            if (recordsOnDisk == 0)
                return;
            var chunk = RecordChunk.OnDisk(lane, nextChunkNumber++, onDisk, recordsOnDisk);
            // It is older than what arrived while there was no disk.
            lane.Prepend(chunk);
            lane.OnDisk += recordsOnDisk;
            lane.Synced += recordsOnDisk;
            lane.Records += recordsOnDisk;
            Records += recordsOnDisk;
        }

        PageDue?.Invoke();
        Added?.Invoke();
    }

    /// <summary>What decides whether to spill.</summary>
    public SpillNeed LookAtAges()
    {
        lock (gate)
        {
            double now = time.GetElapsedTime(0).TotalSeconds;
            bool isBehindDisk = lanes.Any(l => !l.IsLiveFirst && l.OnDisk > l.Aside.Records);
            double unsafeSince = now, unsettledSince = isBehindDisk ? double.NegativeInfinity : now;
            foreach (Lane lane in lanes)
            {
                unsafeSince = Math.Min(unsafeSince, OldestNeedsLock(lane.Spill.Chunk, lane.Spill.Offset, now));
                RecordChunk? head = lane.IsLiveFirst ? lane.LiveFrom : lane.First;
                unsettledSince = Math.Min(unsettledSince, OldestNeedsLock(head, 0, now));
            }

            return new SpillNeed(now - unsafeSince, now - unsettledSince, IsAboveMarkNeedsLock);
        }
    }

    /// <summary>Whether a lane has records that were not handed to its journal.</summary>
    public bool HasUnspilled(int priority)
    {
        lock (gate)
            return TryFindUnspilledNeedsLock(LaneAt(priority), out _, out _);
    }

    /// <summary>Hands records that are in memory alone to the lane's journal, oldest first.</summary>
    /// <param name="priority">The lane.</param>
    /// <param name="recordsMax">No more at once, because ingest waits.</param>
    /// <param name="spilled">Takes what was appended.</param>
    /// <param name="result">Why it ended; Appended when there is no more, or recordsMax is reached.</param>
    /// <returns>How many were appended.</returns>
    public int Spill(int priority, int recordsMax, List<SpilledRecord> spilled, out AppendResult result)
    {
        int count = 0;
        result = AppendResult.Appended;
        lock (gate)
        {
            Lane lane = LaneAt(priority);
            while (count < recordsMax && TryFindUnspilledNeedsLock(lane, out RecordChunk? chunk, out int offset))
            {
                ref RecordHeader header = ref chunk.HeaderAt(offset);
                result = lane.Target!.TryAppend(ViewNeedsLock(chunk, offset), out long id);
                if (result != AppendResult.Appended)
                    break;
                header.JournalId = id;
                spilled.Add(new SpilledRecord(new RecordHandle(HandleOf(chunk, offset)), id));
                lane.Spill.Offset = offset + RecordChunk.BytesOf(header.BodyBytes);
                count++;
            }
        }

        return count;
    }

    /// <summary>These were synced: what is not settled already is safe now.</summary>
    public void Synced(ReadOnlySpan<SpilledRecord> spilled)
    {
        List<IStreamOwner> owners = [];
        List<double> seconds = [];
        lock (gate)
        {
            foreach (SpilledRecord one in spilled)
            {
                if (!TryFindLiveNeedsLock(one, out RecordChunk? chunk, out int offset))
                    continue;
                ref RecordHeader header = ref chunk.HeaderAt(offset);
                seconds.Add(SecondsSince(header));
                if (MarkSyncedNeedsLock(chunk, ref header) is { } owner && (owners.Count == 0 || owners[^1] != owner))
                    owners.Add(owner);
            }
        }

        foreach (double each in seconds)
            safeSeconds.Record(each);
        Tell(owners);
    }

    /// <summary>While memory is above its mark, chunks that are on disk leave it.</summary>
    public void Evict()
    {
        bool reopened;
        TaskCompletionSource? room = null;
        lock (gate)
        {
            bool isAny = false;
            while (IsAboveMarkNeedsLock && TryEvictNeedsLock(mayTakeNext: false))
                isAny = true;
            reopened = ReopenNeedsLock();
            if (isAny && !isClosed)
                room = TakeRoomWaiterNeedsLock();
        }

        if (reopened)
            Reopened?.Invoke();
        room?.TrySetResult();
    }

    /// <summary>
    /// The broker refuses the record for good: it goes to quarantine and is out of everybody's way, or is dropped if
    /// there is none.
    /// </summary>
    public void Refuse(RecordHandle handle, string reason)
    {
        bool isToGo;
        lock (gate)
        {
            isToGo = HasQuarantine;
            if (isToGo)
            {
                HeaderOf(handle.Value).Flags |= RecordFlags.Quarantined;
                toQuarantine.Enqueue((handle, reason));
            }
        }

        if (isToGo)
            SpillDue?.Invoke();
        else
            Drop(handle, DropReason.Refused);
    }

    /// <summary>Whether a record is to go to quarantine.</summary>
    public bool HasRefused
    {
        get
        {
            lock (gate)
                return toQuarantine.Count > 0;
        }
    }

    /// <summary>
    /// Appends the next refused record, under the lock, because it may move otherwise; it stays until it is settled.
    /// </summary>
    public AppendResult AppendRefused(LaneJournal quarantine, out long id)
    {
        lock (gate)
        {
            (RecordHandle handle, string reason) = toQuarantine.Peek();
            return quarantine.TryAppend(
                ViewNeedsLock(ChunkOf(handle.Value), OffsetOf(handle.Value)), reason, out id);
        }
    }

    /// <summary>It was handed to the quarantine, or will not be.</summary>
    public RecordHandle TakeRefused()
    {
        lock (gate)
            return toQuarantine.Dequeue().Handle;
    }

    /// <summary>It is safe in quarantine: its device may forget it.</summary>
    public void Quarantined(RecordHandle handle) => Settle(handle, DropReason.Refused, isTold: false);

    private static bool TryFindUnspilledNeedsLock(Lane lane, [NotNullWhen(true)] out RecordChunk? found, out int offset)
    {
        LaneCursor cursor = lane.Spill;
        while (cursor.Chunk is { } chunk)
        {
            for (offset = cursor.Offset; chunk.TryFind(ref offset); offset = cursor.Offset)
            {
                ref RecordHeader header = ref chunk.HeaderAt(offset);
                found = chunk;
                if ((header.Flags & RecordFlags.Settled) == 0 && header.JournalId == 0)
                    return true;
                cursor.Offset = offset + RecordChunk.BytesOf(header.BodyBytes);
            }

            if (chunk.Next is null)
                break;
            cursor.MoveTo(chunk.Next);
        }

        (found, offset) = (null, 0);
        return false;
    }

    // When the oldest record from a place on came that is not settled; now if there is none.
    private double OldestNeedsLock(RecordChunk? chunk, int offset, double now)
    {
        for (; chunk is not null; chunk = chunk.Next, offset = 0)
        {
            while (chunk.TryFind(ref offset))
            {
                ref RecordHeader header = ref chunk.HeaderAt(offset);
                offset += RecordChunk.BytesOf(header.BodyBytes);
                bool isWaiting = waitingDevices.Count > 0 && waitingDevices.Contains(streams[header.StreamSlot].DeviceId);
                if ((header.Flags & RecordFlags.Settled) != 0 || isWaiting)
                    continue;
                // What was read back is older than anything that is not.
                return chunk.IsReadBack ? double.NegativeInfinity : header.ArrivalMicroseconds / 1e6;
            }
        }

        return now;
    }

    private bool TryFindLiveNeedsLock(
        in SpilledRecord one, [NotNullWhen(true)] out RecordChunk? chunk, out int offset)
    {
        offset = OffsetOf(one.Handle.Value);
        if (!chunks.TryGetValue(one.Handle.Value >> RecordChunk.ShiftBits, out chunk) || !chunk.Has(offset))
            return false;
        ref RecordHeader header = ref chunk.HeaderAt(offset);
        return header.JournalId == one.Id && (header.Flags & (RecordFlags.Settled | RecordFlags.Synced)) == 0;
    }

    private IStreamOwner? MarkSyncedNeedsLock(RecordChunk chunk, ref RecordHeader header)
    {
        header.Flags |= RecordFlags.Synced;
        chunk.Synced++;
        DeviceStream stream = streams[header.StreamSlot];
        chunk.Lane.Synced++;
        UnlinkNeedsLock(stream, ref header);
        return AdvanceSafeNeedsLock(stream) ? stream.Owner : null;
    }

    // What will be taken last goes first. Pages are there to be taken, and what is in front of them before them.
    private bool TryEvictNeedsLock(bool mayTakeNext)
    {
        for (int protects = 1; protects >= (mayTakeNext ? 0 : 1); protects--)
        {
            foreach (Lane lane in lanes)
            {
                RecordChunk? end = protects == 1 ? lane.NextOnDisk(out _) ?? lane.Take.Chunk : null;
                for (RecordChunk? chunk = lane.Last; chunk is not null && chunk != end; chunk = chunk.Previous)
                {
                    if (chunk.IsPage)
                        break;
                    if (IsEvictable(chunk))
                    {
                        EvictNeedsLock(lane, chunk);
                        return true;
                    }
                }
            }
        }

        return false;
    }

    private static bool IsEvictable(RecordChunk chunk) =>
        chunk is { IsOnDisk: false, InFlight: 0, Live: > 0 } && chunk.Synced == chunk.Live;

    private void EvictNeedsLock(Lane lane, RecordChunk chunk)
    {
        for (int offset = 0; chunk.TryFind(ref offset);)
        {
            ref RecordHeader header = ref chunk.HeaderAt(offset);
            offset += RecordChunk.BytesOf(header.BodyBytes);
            if ((header.Flags & RecordFlags.Settled) != 0)
                continue;
            tables.Release(header.TableSlot);
            DeviceStream stream = streams[header.StreamSlot];
            stream.Outstanding--;
            CloseIfDoneNeedsLock(stream);
        }

        CountMemoryNeedsLock(chunk, -chunk.AllocatedBytes);
        lane.OnDisk += chunk.Live;
        if (lane.Spill.Chunk == chunk)
            lane.Spill.MoveTo(chunk.Next);
        chunks.Remove(chunk.Number);
        chunk.Evict();
        lane.MergeOnDisk(chunk);
    }
}

/// <summary>What decides whether to spill.</summary>
/// <param name="UnsafeSeconds">Age of the oldest record that is neither confirmed nor appended to a journal.</param>
/// <param name="UnsettledSeconds">Age of the oldest record that is not confirmed.</param>
/// <param name="IsMemoryShort">Whether memory is above its mark.</param>
internal readonly record struct SpillNeed(double UnsafeSeconds, double UnsettledSeconds, bool IsMemoryShort);
