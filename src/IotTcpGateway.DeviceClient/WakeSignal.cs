using System.Threading.Tasks.Sources;

namespace IotTcpGateway.DeviceClient;

/// <summary>Wakes one waiter without allocating; what was set before the wait is not lost.</summary>
internal sealed class WakeSignal : IValueTaskSource
{
    private readonly Lock gate = new();
    private ManualResetValueTaskSourceCore<bool> source = new() { RunContinuationsAsynchronously = true };
    private bool isSet;
    private bool isWaiting;

    public void Set()
    {
        // What the caller has just made visible must be so before the look at the flag: on ARM that is not for free.
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref isSet))
            return;
        lock (gate)
        {
            isSet = !isWaiting;
            if (!isWaiting)
                return;
            isWaiting = false;
        }

        source.SetResult(true);
    }

    public ValueTask WaitAsync()
    {
        lock (gate)
        {
            if (isSet)
            {
                isSet = false;
                return default;
            }

            source.Reset();
            isWaiting = true;
            return new ValueTask(this, source.Version);
        }
    }

    void IValueTaskSource.GetResult(short token) => source.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => source.GetStatus(token);

    void IValueTaskSource.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        source.OnCompleted(continuation, state, token, flags);
}
