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
        var jumping = new JumpingTime(time);
        var clock = new GatewayClock(jumping, () => isSynchronised);
        Arrival arrival = clock.Arrival();
        Assert.Null(clock.UnixMillisecondsOf(arrival));
        Assert.Equal(0, clock.UnixMicrosecondsOrZero);
        // The wall clock jumps by years; the monotonic one says that it was ten seconds ago.
        time.Advance(TimeSpan.FromSeconds(10));
        jumping.Jump = TimeSpan.FromDays(1_461);
        isSynchronised = true;
        Assert.Equal(
            new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds(),
            clock.UnixMillisecondsOf(arrival));
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

    // FakeTimeProvider cannot set the wall clock and leave the monotonic one alone.
    private sealed class JumpingTime(FakeTimeProvider inner) : TimeProvider
    {
        public TimeSpan Jump { get; set; }

        public override long TimestampFrequency => inner.TimestampFrequency;

        public override DateTimeOffset GetUtcNow() => inner.GetUtcNow() + Jump;

        public override long GetTimestamp() => inner.GetTimestamp();
    }
}
