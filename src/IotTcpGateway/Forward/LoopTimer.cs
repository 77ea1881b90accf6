namespace IotTcpGateway.Forward;

/// <summary>
/// Wakes a loop at its next deadline; set anew only for an earlier one, as the loop turns far more often.
/// </summary>
internal sealed class LoopTimer : IDisposable
{
    private static readonly TimeSpan Tolerance = TimeSpan.FromMilliseconds(1);

    private readonly TimeProvider time;
    private readonly ITimer timer;
    private int isSet;
    private long setFor;

    public LoopTimer(TimeProvider time, Signal signal)
    {
        this.time = time;
        timer = time.CreateTimer(
            _ =>
            {
                Volatile.Write(ref isSet, 0);
                signal.Set();
            },
            null,
            Timeout.InfiniteTimeSpan,
            Timeout.InfiniteTimeSpan);
    }

    /// <summary>
    /// Sees to it that the loop is woken. False if there is nothing to wait for, or if time passed while the timer was
    /// being set, which would make it late.
    /// </summary>
    /// <param name="now">When the deadline was worked out.</param>
    /// <param name="due">How long after that it is.</param>
    public bool Set(long now, TimeSpan due)
    {
        long at = now + (long)(due.TotalSeconds * time.TimestampFrequency);
        long before = time.GetTimestamp();
        if (Interlocked.Exchange(ref isSet, 1) == 0 || at < setFor)
        {
            setFor = at;
            double left = Math.Ceiling(time.GetElapsedTime(before, at).TotalMilliseconds);
            timer.Change(TimeSpan.FromMilliseconds(Math.Max(left, 0)), Timeout.InfiniteTimeSpan);
            if (time.GetElapsedTime(before) > Tolerance)
            {
                Volatile.Write(ref isSet, 0);
                return false;
            }
        }

        return before < at;
    }

    public void Dispose() => timer.Dispose();
}
