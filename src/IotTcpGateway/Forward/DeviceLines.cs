using IotTcpGateway.Buffer;

namespace IotTcpGateway.Forward;

/// <summary>
/// Devices whose messages the broker refuses for now: the oldest record of each is tried again with back-off, the
/// others wait behind it, on disk or in memory, while all other devices go on.
/// </summary>
internal sealed class DeviceLines(RecordBuffer buffer, TimeProvider time)
{
    /// <summary>
    /// Records that may wait in memory outside the buffer's order; beyond it nothing more is taken from the buffer.
    /// </summary>
    public const int RecordsMax = 100_000;

    public static readonly TimeSpan RetryFirst = TimeSpan.FromSeconds(1);
    public static readonly TimeSpan RetryMax = TimeSpan.FromSeconds(60);

    private readonly Dictionary<string, Line> lines = [];
    private int records;

    public int Devices => lines.Count;

    public bool IsFull => records >= RecordsMax;

    /// <summary>Puts a record into its device's line; false if the device has none.</summary>
    public bool TryJoin(string deviceId, in TakenRecord record)
    {
        if (!lines.TryGetValue(deviceId, out Line? line))
            return false;
        Add(line, record);
        return true;
    }

    /// <summary>A record was refused for now.</summary>
    public void Refused(string deviceId, in TakenRecord record)
    {
        if (!lines.TryGetValue(deviceId, out Line? line))
        {
            lines.Add(deviceId, line = new Line());
            buffer.BeginWaiting(deviceId);
        }

        // Many in flight may be refused at once: that is one refusal. The next is that of the record that was tried.
        bool isTried = line.Trying == record.Handle;
        if (isTried)
            line.Trying = null;
        Add(line, record);
        bool isFirst = line.Wait == TimeSpan.Zero;
        if (!isFirst && !isTried)
            return;
        line.Wait = isFirst ? RetryFirst : TimeSpan.FromTicks(Math.Min(line.Wait.Ticks * 2, RetryMax.Ticks));
        line.RefusedAt = time.GetTimestamp();
    }

    /// <summary>
    /// A record was settled; if it was the one tried, its line is free and goes on in order when it was confirmed, or
    /// tries the next at once when it was given up.
    /// </summary>
    public void Settled(string deviceId, RecordHandle handle, bool isConfirmed, Queue<TakenRecord> freed)
    {
        if (lines.Count == 0 || !lines.TryGetValue(deviceId, out Line? line) || line.Trying != handle)
            return;
        line.Trying = null;
        TakenRecord[] waiting = line.InOrder();
        if (!isConfirmed && waiting.Length > 0 && !buffer.HasAside(deviceId))
        {
            // Given up: the one behind it need not wait for that.
            line.Oldest ??= line.Others.Dequeue();
            line.Wait = RetryFirst;
            line.RefusedAt = time.GetTimestamp() - (long)(RetryFirst.TotalSeconds * time.TimestampFrequency);
            return;
        }

        lines.Remove(deviceId);
        records -= waiting.Length;
        if (buffer.EndWaiting(deviceId, waiting.Select(w => w.Handle)))
            return;
        foreach (TakenRecord record in waiting)
            freed.Enqueue(record);
    }

    /// <summary>The oldest record of a line whose wait is over.</summary>
    public bool TryTakeDue(out TakenRecord record)
    {
        foreach (Line line in lines.Values)
        {
            if (line.Trying is not null || line.Oldest is not { } oldest || UntilDue(line) > TimeSpan.Zero)
                continue;
            record = oldest;
            line.Trying = oldest.Handle;
            line.Oldest = null;
            records--;
            return true;
        }

        record = default;
        return false;
    }

    /// <summary>Time until a line is due; null if none will be.</summary>
    public TimeSpan? UntilNextDue()
    {
        TimeSpan? next = null;
        foreach (Line line in lines.Values)
        {
            if (line.Trying is not null || line.Oldest is null)
                continue;
            TimeSpan due = UntilDue(line);
            if (next is null || due < next)
                next = due;
        }

        return next;
    }

    /// <summary>The link is lost: all are as good as any now.</summary>
    public void Clear()
    {
        foreach (string deviceId in lines.Keys)
            buffer.EndWaiting(deviceId, []);
        lines.Clear();
        records = 0;
    }

    private TimeSpan UntilDue(Line line) => line.Wait - time.GetElapsedTime(line.RefusedAt);

    // The oldest stays in memory to be tried. Of the others those that are on disk leave memory, from the oldest on: so
    // what is aside is always older than what is left here.
    private void Add(Line line, in TakenRecord record)
    {
        records++;
        TakenRecord younger = record;
        if (line.Trying is null && (line.Oldest is not { } oldest || record.Order < oldest.Order))
        {
            (TakenRecord? before, line.Oldest) = (line.Oldest, record);
            if (before is not { } pushed)
            {
                TakeOldest(line);
                return;
            }

            younger = pushed;
        }

        line.Others.Enqueue(younger, younger.Order);
        while (line.Others.TryPeek(out TakenRecord next, out _) && buffer.TryPutAside(next.Handle))
        {
            line.Others.Dequeue();
            records--;
        }
    }

    // A record joined while none was the oldest, because it had been tried and settled; an older one may wait already.
    private static void TakeOldest(Line line)
    {
        if (!line.Others.TryPeek(out TakenRecord next, out long order) || order > line.Oldest!.Value.Order)
            return;
        line.Others.Dequeue();
        line.Others.Enqueue(line.Oldest.Value, line.Oldest.Value.Order);
        line.Oldest = next;
    }

    private sealed class Line
    {
        /// <summary>The next to be tried; null while it is.</summary>
        public TakenRecord? Oldest { get; set; }

        /// <summary>Those behind it that are in memory alone, in the order in which they were taken.</summary>
        public PriorityQueue<TakenRecord, long> Others { get; } = new();

        public TimeSpan Wait { get; set; }

        public long RefusedAt { get; set; }

        /// <summary>The record that is tried now.</summary>
        public RecordHandle? Trying { get; set; }

        public TakenRecord[] InOrder()
        {
            IEnumerable<TakenRecord> others = Others.UnorderedItems.Select(i => i.Element);
            return [.. (Oldest is { } oldest ? others.Append(oldest) : others).OrderBy(r => r.Order)];
        }
    }
}

/// <summary>A record that was taken from the buffer.</summary>
/// <param name="Handle">The record.</param>
/// <param name="Order">Grows with each that is taken.</param>
internal readonly record struct TakenRecord(RecordHandle Handle, long Order);
