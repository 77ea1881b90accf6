using IotTcpGateway.Buffer;
using IotTcpGateway.Time;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Time;

public class TimeTests
{
    private readonly FakeTimeProvider time = new(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero));
    private bool isSynchronised;

    [Fact]
    public void IsSynchronised_AskedOften_AsksTheKernelOnceASecondAndStaysTrue()
    {
        int asked = 0;
        var clock = new GatewayClock(time, () =>
        {
            asked++;
            return isSynchronised;
        });
        Assert.False(clock.IsSynchronised);
        isSynchronised = true;
        Assert.False(clock.IsSynchronised);
        Assert.Equal(1, asked);
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(clock.IsSynchronised);
        isSynchronised = false;
        time.Advance(TimeSpan.FromHours(1));
        Assert.True(clock.IsSynchronised);
        Assert.Equal(2, asked);
    }

    [Fact]
    public void UnixMillisecondsOf_ArrivedBeforeTheClockWasSet_IsReckonedBackFromNow()
    {
        var clock = new GatewayClock(time, () => isSynchronised);
        Arrival arrival = clock.Arrival();
        Assert.Null(clock.UnixMillisecondsOf(arrival));
        Assert.Equal(0, clock.UnixMicrosecondsOrZero);
        // The wall clock jumps by years; the monotonic one says that it was ten seconds ago.
        time.Advance(TimeSpan.FromSeconds(10));
        time.AdjustTime(new DateTimeOffset(2030, 1, 1, 0, 0, 10, TimeSpan.Zero));
        isSynchronised = true;
        Assert.Equal(
            new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds(), clock.UnixMillisecondsOf(arrival));
    }

    [Fact]
    public void UnixMillisecondsOf_ArrivedUnderASetClock_IsWhatItSaid()
    {
        isSynchronised = true;
        var clock = new GatewayClock(time, () => isSynchronised);
        Arrival arrival = clock.Arrival();
        time.Advance(TimeSpan.FromDays(1));
        Assert.Equal(arrival.UnixMilliseconds, clock.UnixMillisecondsOf(arrival));
    }

    [Fact]
    public void LogLimit_TenAMinute()
    {
        var limit = new LogLimit(time);
        Assert.Equal(10, Enumerable.Range(0, 50).Count(_ => limit.Passes()));
        time.Advance(TimeSpan.FromSeconds(61));
        Assert.True(limit.Passes());
    }

    // Whatever it answers here, it has to answer: the call goes to the kernel by hand.
    [Fact]
    public void IsKernelSynchronised_OnThisMachine_Answers() => _ = GatewayClock.IsKernelSynchronised();
}
