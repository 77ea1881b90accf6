using System.Text;

using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>
/// Reads the backlog back from disk, a chunk at a time, ahead of the forwarder. For a thread of its own.
/// </summary>
internal sealed class Pager(
    RecordBuffer buffer, BufferDisk disk, TimeProvider time, Action<int, long> lost, DropLedger? ledger = null) : IDisposable
{
    /// <summary>
    /// So often a place that cannot be read is tried before what is there counts as lost, when what is behind it can be
    /// read: a card may come back.
    /// </summary>
    public const int ReadAttempts = 10;

    /// <summary>So often when nothing behind it can be read either: then it is hardly a matter of the place.</summary>
    public const int ReadAttemptsAtEnd = 1800;

    /// <summary>Between two attempts, however often somebody wants the page meanwhile.</summary>
    public static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(2);

    private readonly LaneReader?[] readers = new LaneReader?[BufferDisk.Lanes];
    private readonly long?[] failedAt = new long?[BufferDisk.Lanes];
    private readonly DamageWitness?[] witnesses = new DamageWitness?[BufferDisk.Lanes];
    private uint turn;
    private string trouble = "";

    /// <summary>Why the backlog cannot be read at present; empty if it can. From any thread.</summary>
    public string Trouble => Volatile.Read(ref trouble);

    /// <summary>Reads what may be read; returns how long to wait if nobody calls; infinite if nobody has to.</summary>
    public TimeSpan Step()
    {
        bool isAllReadable = true;
        // One lane after the other, so that none takes all the memory for pages.
        for (int idle = 0; idle < BufferDisk.Lanes; turn++)
        {
            bool? isReadable = TryPage(1 + (int)(turn % BufferDisk.Lanes));
            isAllReadable &= isReadable ?? true;
            idle = isReadable is true ? 0 : idle + 1;
        }

        if (isAllReadable)
            Volatile.Write(ref trouble, "");
        return isAllReadable ? Timeout.InfiniteTimeSpan : RetryAfter;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (LaneReader? reader in readers)
            reader?.Dispose();
    }

    // Whether a page could be read; null if none is to be.
    private bool? TryPage(int priority)
    {
        if (failedAt[priority - 1] is { } failed && time.GetElapsedTime(failed) < RetryAfter)
            return false;
        if (disk.Find(priority) is not { } lane || !buffer.TryBeginPage(priority, out IdRange ids, out AsideRecords? only))
        {
            if (witnesses[priority - 1] is { } idle && buffer.FillOf(priority).OnDisk == 0)
                idle.Clear();
            return null;
        }

        if (ledger is not null)
            witnesses[priority - 1] ??= new DamageWitness(ledger);
        bool isReadable = ReadPage(priority, lane, ids, only);
        failedAt[priority - 1] = isReadable ? null : time.GetTimestamp();
        if (witnesses[priority - 1] is { HasHole: true } witness)
            LookBehind(priority, witness);
        long missing = buffer.EndPage(priority);
        if (missing > 0)
            lost(priority, missing);
        return isReadable;
    }

    // Whose frames are in a hole shows in what follows it: in memory, if nothing on disk does.
    private void LookBehind(int priority, DamageWitness witness)
    {
        if (buffer.SeeBehindPage(priority, witness.Seen))
            witness.End(buffer.HighestTakenOf);
    }

    private bool ReadPage(int priority, LaneJournal lane, IdRange ids, AsideRecords? only)
    {
        LaneReader reader = readers[priority - 1] ??= new LaneReader(lane.Journal);
        reader.MoveTo(ids.First);
        while (true)
        {
            switch (reader.TryPeek(out ReadOnlySpan<byte> payload, out long id))
            {
                // What is in the page cache alone is written again, and can be read then.
                case ReadResult.End when lane.Journal.SyncedThrough < ids.Last:
                    return Restart(reader);
                case ReadResult.End when reader.IsUnreadable:
                    if (++reader.Failures < ReadAttemptsAtEnd)
                        return Fail(reader);
                    reader.Failures = 0;
                    if (only is null)
                    {
                        lane.Journal.Confirm(new IdRange(reader.NextId, ids.Last));
                        witnesses[priority - 1]?.Hole(ids.Last - reader.NextId + 1);
                    }

                    buffer.PassOver(priority, ids.Last);
                    return true;
                case ReadResult.Record when id > ids.Last:
                case ReadResult.End:
                    buffer.PassOver(priority, ids.Last);
                    return true;
                case ReadResult.Record:
                    if (!TryPageIn(priority, lane, payload, id, only))
                        return true;
                    reader.Next();
                    if (id == ids.Last)
                        return true;
                    break;
                case ReadResult.Gap:
                    if (reader.IsUnreadable && ++reader.Failures < ReadAttempts)
                        return Fail(reader);
                    // Others than these may be whole, and in memory.
                    if (only is null)
                    {
                        lane.Journal.Confirm(reader.Gap);
                        witnesses[priority - 1]?.Hole(reader.Gap.Count);
                    }

                    buffer.PassOver(priority, Math.Min(reader.Gap.Last, ids.Last));
                    if (reader.Gap.Last >= ids.Last)
                        return true;
                    break;
                default:
                    return Fail(reader);
            }
        }
    }

    private bool Fail(LaneReader reader)
    {
        Volatile.Write(ref trouble, reader.ReadError.ToString());
        return Restart(reader);
    }

    private static bool Restart(LaneReader reader)
    {
        reader.Close();
        return false;
    }

    // False when the page is full.
    private bool TryPageIn(
        int priority, LaneJournal lane, ReadOnlySpan<byte> payload, long id, AsideRecords? only)
    {
        bool isSettled = lane.Journal.IsConfirmed(id);
        if (!isSettled && SpilledFrame.TryRead(payload, out SpilledFrame frame))
        {
            string deviceId = Encoding.UTF8.GetString(frame.DeviceId);
            frame = frame with { Arrival = lane.ArrivalOf(frame) };
            if (only is null || only.Has(deviceId, id))
            {
                bool isTaken = buffer.PageIn(priority, frame, deviceId, lane.TableOf(frame.Table), id);
                if (isTaken && only is null)
                    witnesses[priority - 1]?.Seen(deviceId, frame.BootId, frame.Sequence);
                return isTaken;
            }
        }
        else if (!isSettled)
        {
            // Tables and marks are nobody's to deliver.
            lane.Journal.Confirm(id);
        }

        buffer.PassOver(priority, id);
        return true;
    }

    /// <summary>A reader that can look at a record before it goes on, and can be put to a place.</summary>
    private sealed class LaneReader(RecordJournal journal) : IDisposable
    {
        private byte[] held = [];
        private int heldBytes = -1;
        private long heldId;
        private JournalReader? reader;

        public IdRange Gap => reader!.Gap;

        public long NextId => reader!.NextId;

        public DiskError ReadError => reader!.ReadError;

        public bool IsUnreadable => !reader!.ReadError.IsNone;

        /// <summary>How often the place could not be read.</summary>
        public int Failures { get; set; }

        public void MoveTo(long id)
        {
            if (reader is not null && (heldBytes >= 0 ? heldId == id : reader.NextId == id))
                return;
            Close();
            reader = journal.CreateReader(id);
        }

        public ReadResult TryPeek(out ReadOnlySpan<byte> payload, out long id)
        {
            ReadResult result = ReadResult.Record;
            if (heldBytes < 0)
            {
                result = reader!.TryRead(out JournalRecord record);
                if (result == ReadResult.Record)
                    Hold(record);
            }

            payload = heldBytes >= 0 ? held.AsSpan(0, heldBytes) : default;
            id = heldId;
            return result;
        }

        public void Next()
        {
            heldBytes = -1;
            Failures = 0;
        }

        public void Close()
        {
            reader?.Dispose();
            reader = null;
            heldBytes = -1;
        }

        public void Dispose() => Close();

        private void Hold(in JournalRecord record)
        {
            if (held.Length < record.Payload.Length)
                held = new byte[Math.Max(record.Payload.Length, 1024)];
            record.Payload.CopyTo(held);
            heldBytes = record.Payload.Length;
            heldId = record.Id;
        }
    }
}
