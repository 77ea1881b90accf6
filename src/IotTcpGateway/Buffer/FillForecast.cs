namespace IotTcpGateway.Buffer;

/// <summary>How long until the disk is full, at the rate of the last minutes.</summary>
internal sealed class FillForecast(TimeProvider time, long bytesMax)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);
    private const int SamplesMax = 24;

    private readonly Queue<(long At, long Bytes)> samples = new();
    private long sampledAt;

    /// <summary>Null while it does not fill.</summary>
    public double? SecondsUntilFull(long bytes)
    {
        if (samples.Count == 0 || time.GetElapsedTime(sampledAt) >= Interval)
        {
            sampledAt = time.GetTimestamp();
            samples.Enqueue((sampledAt, bytes));
            if (samples.Count > SamplesMax)
                samples.Dequeue();
        }

        (long at, long before) = samples.Peek();
        double seconds = time.GetElapsedTime(at).TotalSeconds;
        return seconds > 0 && bytes > before ? Math.Round((bytesMax - bytes) / ((bytes - before) / seconds)) : null;
    }
}
