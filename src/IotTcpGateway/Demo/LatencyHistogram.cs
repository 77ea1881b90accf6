namespace IotTcpGateway.Demo;

/// <summary>Latencies in buckets that each are an eighth of their octave wide. Safe for several threads.</summary>
internal sealed class LatencyHistogram
{
    private const int StepsPerOctave = 8;
    private const int OctavesMax = 40;

    private readonly long[] buckets = new long[StepsPerOctave * OctavesMax];
    private long count;
    private long largestMicroseconds;

    public long Count => Volatile.Read(ref count);

    public TimeSpan Largest => TimeSpan.FromMicroseconds(Volatile.Read(ref largestMicroseconds));

    public void Add(TimeSpan latency)
    {
        long microseconds = Math.Max((long)latency.TotalMicroseconds, 1);
        int index = Math.Min((int)(Math.Log2(microseconds) * StepsPerOctave), buckets.Length - 1);
        Interlocked.Increment(ref buckets[index]);
        Interlocked.Increment(ref count);
        long largest = Volatile.Read(ref largestMicroseconds);
        while (microseconds > largest)
        {
            long seen = Interlocked.CompareExchange(ref largestMicroseconds, microseconds, largest);
            if (seen == largest)
                break;
            largest = seen;
        }
    }

    /// <summary>An upper bound of the share's latency; zero if there are none.</summary>
    public TimeSpan Percentile(double share)
    {
        double rank = share * Count;
        long below = 0;
        for (int i = 0; i < buckets.Length; i++)
        {
            below += Volatile.Read(ref buckets[i]);
            if (below >= rank && below > 0)
                return Shorter(TimeSpan.FromMicroseconds(Math.Pow(2, (i + 1.0) / StepsPerOctave)), Largest);
        }

        return TimeSpan.Zero;
    }

    private static TimeSpan Shorter(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
