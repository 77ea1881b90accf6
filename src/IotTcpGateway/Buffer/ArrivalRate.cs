namespace IotTcpGateway.Buffer;

/// <summary>
/// Bytes a second at which frames came in the last hour before the newest one, by their arrival times.
/// </summary>
internal sealed class ArrivalRate
{
    private const int Minutes = 60;
    private const long MinuteMilliseconds = 60_000;
    private static readonly TimeSpan ShortestSpan = TimeSpan.FromSeconds(5);

    private readonly Bucket[] buckets = new Bucket[Minutes];
    private long newest;

    /// <summary>Null when too few came to tell.</summary>
    public double? BytesPerSecond
    {
        get
        {
            long oldest = newest, bytes = 0;
            foreach (Bucket bucket in buckets.Where(IsInTheHour))
            {
                oldest = Math.Min(oldest, bucket.First);
                bytes += bucket.Bytes;
            }

            double seconds = (newest - oldest) / 1000.0;
            return seconds >= ShortestSpan.TotalSeconds ? bytes / seconds : null;
        }
    }

    /// <summary>A frame that came after those before, whatever the clock says.</summary>
    public void Add(long unixMilliseconds, long bytes)
    {
        // The clock was stepped back: what was counted by the old one says nothing any more.
        if (newest - unixMilliseconds > Minutes * MinuteMilliseconds)
        {
            Array.Clear(buckets);
            newest = 0;
        }

        Count(unixMilliseconds, bytes);
    }

    /// <summary>Adds what came into another journal.</summary>
    public void Add(ArrivalRate other)
    {
        foreach (Bucket bucket in other.buckets.Where(other.IsInTheHour))
            Count(bucket.First, bucket.Bytes);
        newest = Math.Max(newest, other.newest);
    }

    private bool IsInTheHour(Bucket bucket) =>
        bucket.Bytes > 0 && (newest / MinuteMilliseconds) - (bucket.First / MinuteMilliseconds) < Minutes;

    private void Count(long unixMilliseconds, long bytes)
    {
        newest = Math.Max(newest, unixMilliseconds);
        ref Bucket bucket = ref buckets[unixMilliseconds / MinuteMilliseconds % Minutes];
        long minute = bucket.First / MinuteMilliseconds;
        if (bucket.Bytes == 0 || minute < unixMilliseconds / MinuteMilliseconds)
            bucket = new Bucket(unixMilliseconds, bytes);
        else if (minute == unixMilliseconds / MinuteMilliseconds)
            bucket = new Bucket(Math.Min(bucket.First, unixMilliseconds), bucket.Bytes + bytes);
    }

    private readonly record struct Bucket(long First, long Bytes);
}
