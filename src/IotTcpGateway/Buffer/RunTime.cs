namespace IotTcpGateway.Buffer;

/// <summary>
/// How long the gateway has run, summed over its starts, in seconds: the clock by which frames grow old. It knows
/// nothing of the time in which the gateway is off, and never jumps. Safe for several threads.
/// </summary>
internal sealed class RunTime(TimeProvider time)
{
    private readonly long startedAt = time.GetTimestamp();
    private long before;

    public long Seconds => Volatile.Read(ref before) + (long)time.GetElapsedTime(startedAt).TotalSeconds;

    /// <summary>It is known that it had run so long by an earlier time.</summary>
    public void Resume(long seconds)
    {
        if (seconds > before)
            Volatile.Write(ref before, seconds);
    }
}
