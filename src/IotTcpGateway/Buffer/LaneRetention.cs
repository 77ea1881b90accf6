using System.Text;

using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>
/// What goes from a lane's disk: what is settled, what is too old, and the oldest when there is no room. For the
/// spilling thread.
/// </summary>
internal sealed class LaneRetention(int priority, RecordBuffer buffer, BufferDisk disk, DropLedger ledger)
{
    private long doomedThrough;
    private DropReason reason;
    private bool isBegun;
    private int failures;
    private long confirmedAtTidying = -1;

    /// <summary>Whether records are being given up.</summary>
    public bool IsGivingUp => doomedThrough > 0;

    /// <summary>Gives up the oldest segment; false if there is none.</summary>
    public bool DropOldest()
    {
        if (IsGivingUp)
            return true;
        if (disk.Find(priority) is not { } lane || buffer.FillOf(priority).Synced == 0)
            return false;
        lane.Journal.Rotate();
        long last = Math.Min(lane.Journal.OldestSegment.Last, lane.Journal.SyncedThrough);
        return Begin(last, DropReason.BufferFull);
    }

    /// <summary>Gives up what is older than an age.</summary>
    public void DropExpired(TimeSpan maxAge)
    {
        if (!IsGivingUp && disk.Find(priority) is { } lane)
            Begin(Math.Min(lane.LastOlderThan(maxAge), lane.Journal.SyncedThrough), DropReason.Expired);
    }

    /// <summary>Goes on with what is being given up, as far as what is in flight lets it.</summary>
    /// <param name="isLedgerSafe">Makes the ledger durable.</param>
    public void Advance(Func<bool> isLedgerSafe)
    {
        if (!IsGivingUp || disk.Find(priority) is not { } lane)
            return;
        isBegun = isBegun || buffer.TryDoom(priority, doomedThrough);
        if (!isBegun)
            return;
        bool isDone = buffer.DropDoomed(priority, reason, out IdRange onDisk, out AsideRecords? only);
        while (!onDisk.IsEmpty)
        {
            bool isReadable = TryRead(lane, onDisk, only, told: null, out _);
            if (!isReadable && ++failures < Pager.ReadAttempts)
                return;
            failures = 0;
            TryRead(lane, onDisk, only, ledger, out long records);
            buffer.CountLost(buffer.ForgetOnDisk(priority, onDisk, records, reason));
            isDone = buffer.DropDoomed(priority, reason, out onDisk, out only);
        }

        if (!isDone || !isLedgerSafe())
            return;
        lane.Journal.GiveUpThrough(doomedThrough);
        lane.Trim();
        buffer.EndDoom(priority);
        doomedThrough = 0;
        isBegun = false;
    }

    /// <summary>Makes durable what the broker has confirmed, and frees its room.</summary>
    /// <param name="isLast">Whether the gateway ends.</param>
    public void Tidy(bool isLast = false)
    {
        if (disk.Find(priority) is not { } lane)
            return;
        LaneFill fill = buffer.FillOf(priority);
        long confirmed = lane.Journal.ConfirmedThrough;
        if (fill.Synced > 0)
            lane.MarkTime(isAtOnce: isLast);
        // Not by the buffer's count alone: what was just synced it may not know yet.
        bool isEmpty = fill.Synced == 0 && confirmed >= lane.Journal.LastId;
        if (isEmpty)
            lane.ForgetTables();
        if (confirmed != confirmedAtTidying && confirmed > 0
            && lane.Journal.CommitCursor().IsNone && lane.Trim().IsNone)
        {
            confirmedAtTidying = confirmed;
        }
    }

    private bool Begin(long throughId, DropReason why)
    {
        if (disk.Find(priority) is not { } lane || throughId <= lane.Journal.ConfirmedThrough)
            return false;
        (doomedThrough, reason) = (throughId, why);
        return true;
    }

    // False if it cannot be read now, all of it.
    private bool TryRead(LaneJournal lane, IdRange ids, AsideRecords? only, DropLedger? told, out long records)
    {
        records = 0;
        using JournalReader reader = lane.Journal.CreateReader(ids.First);
        while (reader.NextId <= ids.Last)
        {
            ReadResult result = reader.TryRead(out JournalRecord record);
            if (result is ReadResult.Failed || (result is not ReadResult.Record && !reader.ReadError.IsNone))
                return false;
            if (result == ReadResult.Gap)
                continue;
            if (result == ReadResult.End || record.Id > ids.Last)
                break;
            if (lane.Journal.IsConfirmed(record.Id) || !SpilledFrame.TryRead(record.Payload, out SpilledFrame frame))
                continue;
            string deviceId = Encoding.UTF8.GetString(frame.DeviceId);
            if (only is not null && !only.Has(deviceId, record.Id))
                continue;
            told?.Add(deviceId, frame.BootId, frame.Sequence, reason);
            records++;
        }

        return true;
    }
}
