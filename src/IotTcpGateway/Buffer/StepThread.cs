namespace IotTcpGateway.Buffer;

/// <summary>
/// A thread that does one step after the other and waits between them. A thread of its own, because a step may wait for
/// the disk for many seconds.
/// </summary>
internal sealed class StepThread : IDisposable
{
    private readonly Func<TimeSpan> step;
    private readonly TimeProvider time;
    private readonly Thread thread;
    private readonly AutoResetEvent wake = new(initialState: false);
    private readonly TaskCompletionSource completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool isStopping;
    private int isAwake;

    /// <param name="name">For debuggers.</param>
    /// <param name="step">Does what is due; returns how long to wait unless woken.</param>
    /// <param name="time">For the wait.</param>
    public StepThread(string name, Func<TimeSpan> step, TimeProvider time)
    {
        this.step = step;
        this.time = time;
        thread = new Thread(Run, maxStackSize: 256 * 1024) { Name = name, IsBackground = true };
    }

    /// <summary>Completes at the end; faulted by a defect.</summary>
    public Task Completion => completion.Task;

    public bool IsAlive => thread.IsAlive;

    public void Start() => thread.Start();

    /// <summary>The next step is due now.</summary>
    public void Wake()
    {
        if (Interlocked.Exchange(ref isAwake, 1) == 0)
            wake.Set();
    }

    /// <summary>Ends after the step under way; completes then.</summary>
    public Task StopAsync()
    {
        isStopping = true;
        if (!thread.IsAlive)
            completion.TrySetResult();
        wake.Set();
        return Completion;
    }

    /// <inheritdoc/>
    public void Dispose() => wake.Dispose();

    private void Run()
    {
        try
        {
            while (!isStopping)
            {
                Volatile.Write(ref isAwake, 0);
                TimeSpan wait = step();
                if (wait != TimeSpan.Zero && !isStopping)
                    Wait(wait);
            }

            completion.TrySetResult();
        }
        catch (Exception e)
        {
            // The top of the thread: whoever watches ends the gateway with a code that says so.
            completion.TrySetException(e);
        }
    }

    private void Wait(TimeSpan wait)
    {
        using ITimer? timer = wait == Timeout.InfiniteTimeSpan
            ? null
            : time.CreateTimer(_ => Wake(), null, wait, Timeout.InfiniteTimeSpan);
        wake.WaitOne();
    }
}
