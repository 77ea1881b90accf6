namespace IotTcpGateway.Health;

/// <summary>The buckets of the latency histogram, and percentiles by them.</summary>
internal static class SafeBuckets
{
    /// <summary>Upper bounds in seconds: from half a millisecond to the minutes of an outage.</summary>
    public static readonly double[] Bounds =
    [
        0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600,
    ];

    public static int IndexOf(double seconds)
    {
        int index = Array.BinarySearch(Bounds, seconds);
        return index >= 0 ? index : ~index;
    }

    /// <summary>The share of observations at or below the answer, in ms, interpolated within a bucket; null if there are none.</summary>
    public static double? PercentileMilliseconds(ReadOnlySpan<long> buckets, double share)
    {
        long total = 0;
        foreach (long bucket in buckets)
            total += bucket;
        if (total == 0)
            return null;
        double rank = share * total;
        double below = 0;
        for (int i = 0; i < buckets.Length; i++)
        {
            if (below + buckets[i] >= rank && buckets[i] > 0)
            {
                double low = i == 0 ? 0 : Bounds[i - 1];
                double high = i < Bounds.Length ? Bounds[i] : Bounds[^1];
                return (low + ((high - low) * ((rank - below) / buckets[i]))) * 1000;
            }

            below += buckets[i];
        }

        return Bounds[^1] * 1000;
    }
}
