using IotTcpGateway.Buffer;

namespace IotTcpGateway.Forward;

/// <summary>
/// Devices whose messages the broker refuses for now: the records of each wait in order, and its oldest is tried again
/// with back-off, while all other devices go on.
/// </summary>
internal sealed class DeviceLines(TimeProvider time, Action<string, bool> waits)
{
    /// <summary>
    /// Records that may wait outside the buffer's order; beyond it nothing more is taken from the buffer.
    /// </summary>
    public const int RecordsMax = 100_000;

    public static readonly TimeSpan RetryFirst = TimeSpan.FromSeconds(1);
    public static readonly TimeSpan RetryMax = TimeSpan.FromSeconds(60);

    private readonly Dictionary<string, Line> lines = [];
    private int records;

    public int Devices => lines.Count;

    public bool IsFull => records >= RecordsMax;

    /// <summary>Puts a record into its device's line; false if the device has none.</summary>
    public bool TryJoin(string deviceId, RecordHandle handle, long order)
    {
        if (!lines.TryGetValue(deviceId, out Line? line))
            return false;
        Add(line, handle, order);
        return true;
    }

    /// <summary>A record was refused for now.</summary>
    public void Refused(string deviceId, RecordHandle handle, long order)
    {
        if (!lines.TryGetValue(deviceId, out Line? line))
        {
            lines.Add(deviceId, line = new Line());
            waits(deviceId, true);
        }

        Add(line, handle, order);
        // Many in flight may be refused at once: that is one refusal. The next is that of the record that was tried.
        bool isFirst = line.Wait == TimeSpan.Zero;
        if (!isFirst && line.Trying != handle)
            return;
        line.Trying = null;
        line.Wait = isFirst ? RetryFirst : TimeSpan.FromTicks(Math.Min(line.Wait.Ticks * 2, RetryMax.Ticks));
        line.RefusedAt = time.GetTimestamp();
    }

    /// <summary>
    /// A record was settled; if it was the one tried, and confirmed, its line is free and goes on in order.
    /// </summary>
    public void Settled(string deviceId, RecordHandle handle, bool isConfirmed, Queue<(RecordHandle Handle, long Order)> freed)
    {
        if (lines.Count == 0 || !lines.TryGetValue(deviceId, out Line? line) || line.Trying != handle)
            return;
        line.Trying = null;
        if (!isConfirmed && line.Records.Count > 0)
        {
            // Given up: the one behind it need not wait for that.
            line.Wait = RetryFirst;
            line.RefusedAt = time.GetTimestamp() - (long)(RetryFirst.TotalSeconds * time.TimestampFrequency);
            return;
        }

        lines.Remove(deviceId);
        waits(deviceId, false);
        records -= line.Records.Count;
        while (line.Records.TryDequeue(out (RecordHandle Handle, long Order) next, out _))
            freed.Enqueue(next);
    }

    /// <summary>The oldest record of a line whose wait is over.</summary>
    public bool TryTakeDue(out RecordHandle handle, out long order)
    {
        foreach (Line line in lines.Values)
        {
            if (line.Trying is not null || line.Records.Count == 0 || UntilDue(line) > TimeSpan.Zero)
                continue;
            (handle, order) = line.Records.Dequeue();
            line.Trying = handle;
            records--;
            return true;
        }

        handle = default;
        order = 0;
        return false;
    }

    /// <summary>Time until a line is due; null if none will be.</summary>
    public TimeSpan? UntilNextDue()
    {
        TimeSpan? next = null;
        foreach (Line line in lines.Values)
        {
            if (line.Trying is not null || line.Records.Count == 0)
                continue;
            TimeSpan due = UntilDue(line);
            if (next is null || due < next)
                next = due;
        }

        return next;
    }

    private TimeSpan UntilDue(Line line) => line.Wait - time.GetElapsedTime(line.RefusedAt);

    /// <summary>The link is lost: nobody waits any more.</summary>
    public void Clear()
    {
        foreach (string deviceId in lines.Keys)
            waits(deviceId, false);
        lines.Clear();
        records = 0;
    }

    private void Add(Line line, RecordHandle handle, long order)
    {
        line.Records.Enqueue((handle, order), order);
        records++;
    }

    private sealed class Line
    {
        /// <summary>In the order in which they were taken from the buffer.</summary>
        public PriorityQueue<(RecordHandle Handle, long Order), long> Records { get; } = new();

        public TimeSpan Wait { get; set; }

        public long RefusedAt { get; set; }

        /// <summary>The record that is tried now.</summary>
        public RecordHandle? Trying { get; set; }
    }
}
