namespace IotTcpGateway.Journal;

// What is settled, and what is freed by it.
public sealed partial class RecordJournal
{
    /// <summary>Settles one record, in any order and from any thread.</summary>
    public void Confirm(long id) => confirmed.Confirm(id);

    /// <summary>Settles a range, such as the gap that a reader met; from any thread.</summary>
    public void Confirm(IdRange ids) => confirmed.Confirm(ids);

    /// <summary>Whether a record is settled; from any thread.</summary>
    public bool IsConfirmed(long id) => confirmed.IsConfirmed(id);

    /// <summary>
    /// The ids of the oldest segment, which <see cref="DropOldest"/> would give up; empty when there is none. For the
    /// writing thread.
    /// </summary>
    public IdRange OldestSegment => segments.Count == 0
        ? new IdRange(1, 0)
        : new IdRange(segments[0].FirstId, segments[0].LastId);

    /// <summary>
    /// Makes the cursor durable as it is now. It never leads: what it says was confirmed before. Without it a restart
    /// reads records again that were confirmed since the last time.
    /// </summary>
    public DiskError CommitCursor() =>
        cursorFile.IsOpen && cursorFile.Synced == SlotNow ? DiskError.None : WriteCursor();

    /// <summary>
    /// Removes segments, oldest first, in which everything is settled, after the cursor that says so is durable in both
    /// slots: with the segments goes the proof that their ids were given. The segment being written stays.
    /// </summary>
    public DiskError Trim()
    {
        long needed = LastTrimmableId(confirmed.Through);
        while (needed > cursorFile.SyncedBefore.Confirmed)
        {
            DiskError error = WriteCursor();
            if (!error.IsNone)
                return error;
        }

        return RemoveSettled(needed);
    }

    /// <summary>
    /// Gives up everything up to an id: retention by age, with the boundary found by the caller, who knows what is how
    /// old. Nothing is freed before <see cref="Trim"/>.
    /// </summary>
    public GivenUp GiveUpThrough(long id)
    {
        id = Math.Min(id, SyncedThrough);
        GivenUp givenUp = confirmed.GiveUpThrough(id);
        Volatile.Write(ref givenUpThrough, Math.Max(givenUpThrough, id));
        return givenUp;
    }

    /// <summary>What is appended from now on begins a new segment, so that what there is can go by itself.</summary>
    public void Rotate() => Seal();

    /// <summary>Gives up the oldest segment's records and frees its room.</summary>
    /// <param name="givenUp">What was given up, even when the room could not be freed.</param>
    public DiskError DropOldest(out GivenUp givenUp)
    {
        givenUp = default;
        if (segments.Count == 0)
            return DiskError.None;
        if (segments[0] == active?.Segment)
            Seal();
        givenUp = GiveUpThrough(segments[0].LastId);
        return Trim();
    }

    /// <summary>The first segment that has, or is behind, an id; null when there is none.</summary>
    internal Segment? FindSegment(long id)
    {
        lock (segmentsSync)
        {
            foreach (Segment segment in segments)
            {
                if (segment.LastId >= id || !segment.IsSealed)
                    return segment;
            }

            return null;
        }
    }

    /// <summary>The segment after another one, which may be gone itself; null when there is none yet.</summary>
    internal Segment? FindNext(SegmentName name)
    {
        lock (segmentsSync)
        {
            foreach (Segment segment in segments)
            {
                if (segment.Name.CompareTo(name) > 0)
                    return segment;
            }

            return null;
        }
    }

    private CursorSlot SlotNow => new(confirmed.Through, SyncedThrough, nextId - 1);

    private DiskError WriteCursor()
    {
        DiskError error = cursorFile.Write(SlotNow);
        if (!error.IsNoSpace || !reserve.Release())
            return error;
        // A cursor that cannot be written keeps the segments from being removed that would make room.
        Become(JournalState.Full, error);
        return cursorFile.Write(SlotNow);
    }

    // Of the segments that may go, the last id; -1 when there is none.
    private long LastTrimmableId(long settled)
    {
        long last = -1;
        foreach (Segment segment in segments)
        {
            if (!IsTrimmable(segment, settled))
                break;
            last = segment.LastId;
        }

        return last;
    }

    private bool IsTrimmable(Segment segment, long settled) =>
        segment != active?.Segment && segment.LastId <= settled;

    private DiskError RemoveSettled(long settled)
    {
        bool isAnyRemoved = false;
        DiskError error = DiskError.None;
        while (segments.Count > 0 && IsTrimmable(segments[0], settled))
        {
            error = disk.Unlink(segments[0].FileName);
            if (!error.IsNone && error.Errno != DiskError.NoEntry)
                break;
            error = DiskError.None;
            isAnyRemoved = true;
            sealedBytes -= segments[0].FileBytes;
            lock (segmentsSync)
                segments.RemoveAt(0);
        }

        // Not durable is no loss: the next start finds it settled and removes it again.
        DiskError synced = isAnyRemoved ? Counters.CountSync(disk.SyncDirectory()) : DiskError.None;
        return error.IsNone ? synced : error;
    }
}
