namespace IotTcpGateway.Tls;

/// <summary>
/// Lets handshakes begin one by one, so many a second and in the order in which they asked, so that a site that comes back
/// all at once leaves time for the devices that are there. Who waits is bounded by the places for handshakes. Safe for
/// several threads.
/// </summary>
internal sealed class HandshakePace(TimeProvider time) : IDisposable
{
    // What a late timer may make up for; not more, or a pause would end in a rush.
    private static readonly TimeSpan CatchUp = TimeSpan.FromMilliseconds(100);

    private readonly Lock gate = new();
    private readonly Queue<TaskCompletionSource> waiting = new();
    private ITimer? timer;
    private long nextAt = long.MinValue;
    private int perSecond = 1;
    private bool isDisposed;

    public int PerSecond
    {
        get => Volatile.Read(ref perSecond);
        set => Volatile.Write(ref perSecond, value);
    }

    private long Interval => time.TimestampFrequency / PerSecond;

    /// <summary>Completes when a handshake may begin.</summary>
    public async Task WaitAsync(CancellationToken stopping)
    {
        TaskCompletionSource turn;
        lock (gate)
        {
            long now = time.GetTimestamp();
            if (waiting.Count == 0 && now >= nextAt)
            {
                TakeSlotNeedsLock(now);
                return;
            }

            turn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            waiting.Enqueue(turn);
            if (waiting.Count == 1)
                ScheduleNeedsLock(now);
        }

        // Who gives up stays in the queue until its turn, which then costs no slot.
        using CancellationTokenRegistration registration = stopping.Register(() => turn.TrySetCanceled(stopping));
        await turn.Task.ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (gate)
        {
            isDisposed = true;
            timer?.Dispose();
        }
    }

    private void Tick()
    {
        lock (gate)
        {
            long now = time.GetTimestamp();
            while (waiting.Count > 0 && now >= nextAt)
            {
                if (waiting.Dequeue().TrySetResult())
                    TakeSlotNeedsLock(now);
            }

            if (waiting.Count > 0)
                ScheduleNeedsLock(now);
        }
    }

    private void TakeSlotNeedsLock(long now)
    {
        long earliest = now - (long)(CatchUp.TotalSeconds * time.TimestampFrequency);
        nextAt = Math.Max(nextAt, waiting.Count == 0 ? now : earliest) + Interval;
    }

    private void ScheduleNeedsLock(long now)
    {
        if (isDisposed)
            return;
        // Rounded up: timers count whole ms, and one that came early would spin.
        double wait = Math.Ceiling(Math.Max(nextAt - now, 0) * 1000.0 / time.TimestampFrequency);
        timer ??= time.CreateTimer(_ => Tick(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        timer.Change(TimeSpan.FromMilliseconds(Math.Max(wait, 1)), Timeout.InfiniteTimeSpan);
    }
}
