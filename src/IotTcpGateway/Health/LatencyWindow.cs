namespace IotTcpGateway.Health;

/// <summary>Percentiles of the last minute, from a histogram that only grows. Safe for several threads.</summary>
internal sealed class LatencyWindow(Func<long[]?> histogram, TimeProvider time)
{
    private const int SnapshotsMax = 13;
    private static readonly TimeSpan Step = TimeSpan.FromSeconds(5);

    private readonly Lock gate = new();
    private readonly Queue<long[]> snapshots = new();
    private long takenAt = time.GetTimestamp();

    public SafeLatency Read()
    {
        lock (gate)
        {
            long[] now = histogram() ?? [];
            if (snapshots.Count == 0 || time.GetElapsedTime(takenAt) >= Step)
            {
                snapshots.Enqueue(now);
                takenAt = time.GetTimestamp();
                if (snapshots.Count > SnapshotsMax)
                    snapshots.Dequeue();
            }

            long[] then = snapshots.Peek();
            // The first look has nothing to compare with: it shows everything since the start.
            long[] since = snapshots.Count == 1 ? now : [.. now.Zip(then, (a, b) => a - b)];
            return new SafeLatency(
                SafeBuckets.PercentileMilliseconds(since, 0.50), SafeBuckets.PercentileMilliseconds(since, 0.99));
        }
    }
}
