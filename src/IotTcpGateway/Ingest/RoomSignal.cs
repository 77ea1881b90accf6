using IotTcpGateway.Buffer;

namespace IotTcpGateway.Ingest;

/// <summary>Wakes the sessions that hold a frame for which the buffer had no room.</summary>
internal sealed class RoomSignal(RecordBuffer buffer)
{
    private TaskCompletionSource reopened = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes when the buffer has room, at once if it has.</summary>
    public Task WaitAsync()
    {
        Task task = Volatile.Read(ref reopened).Task;
        return buffer.IsFull ? task : Task.CompletedTask;
    }

    public void Reopened()
    {
        var next = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Interlocked.Exchange(ref reopened, next).TrySetResult();
    }
}
