namespace IotTcpGateway.Forward;

/// <summary>Wakes one waiter; what was set before the wait is not lost.</summary>
internal sealed class Signal
{
    private readonly Lock gate = new();
    private bool isSet;
    private TaskCompletionSource? waiter;

    public void Set()
    {
        // What the caller has just made visible must be so before the look at the flag: on ARM that is not for free.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref isSet))
            return;
        TaskCompletionSource? wake;
        lock (gate)
        {
            wake = waiter;
            waiter = null;
            isSet = wake is null;
        }

        wake?.TrySetResult();
    }

    public Task WaitAsync()
    {
        lock (gate)
        {
            if (isSet)
            {
                isSet = false;
                return Task.CompletedTask;
            }

            waiter ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return waiter.Task;
        }
    }
}
