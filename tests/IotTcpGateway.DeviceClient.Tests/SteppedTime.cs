using System.Threading.Channels;

using IotTcpGateway.TestKit;

using Microsoft.Extensions.Time.Testing;

namespace IotTcpGateway.DeviceClient.Tests;

/// <summary>A clock that the test moves, and that tells when a running timer is set anew.</summary>
internal sealed class SteppedTime() : FakeTimeProvider(new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero))
{
    private readonly Channel<TimeSpan> changes = Channel.CreateUnbounded<TimeSpan>();

    /// <summary>Waits until a timer has been set to this time.</summary>
    public async Task TimerSetToAsync(TimeSpan due)
    {
        while (await Guard.Limit(changes.Reader.ReadAsync().AsTask()) != due)
        {
        }
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
        new Watched(base.CreateTimer(callback, state, dueTime, period), changes.Writer);

    private sealed class Watched(ITimer timer, ChannelWriter<TimeSpan> changes) : ITimer
    {
        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            bool isChanged = timer.Change(dueTime, period);
            changes.TryWrite(dueTime);
            return isChanged;
        }

        public void Dispose() => timer.Dispose();

        public ValueTask DisposeAsync() => timer.DisposeAsync();
    }
}
