using IotTcpGateway.Protocol;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public class BackOffTests
{
    private static readonly ConnectionEnd lost = new(ConnectionEndKind.Lost, "");

    [Theory]
    [InlineData(1, 1.0, 1.5)]
    [InlineData(2, 2.0, 3.0)]
    [InlineData(3, 4.0, 6.0)]
    [InlineData(4, 8.0, 12.0)]
    [InlineData(5, 16.0, 24.0)]
    [InlineData(6, 32.0, 48.0)]
    [InlineData(7, 40.0, 60.0)]
    [InlineData(8, 40.0, 60.0)]
    [InlineData(int.MaxValue, 40.0, 60.0)]
    public void Next_FailuresInARow_DoublesFromOneSecondToOneMinute(int failures, double from, double to)
    {
        Assert.Equal(TimeSpan.FromSeconds(from), BackOff.Next(failures, lost, jitter: 0));
        Assert.Equal(TimeSpan.FromSeconds(to), BackOff.Next(failures, lost, jitter: 1));
        Assert.Equal(TimeSpan.FromSeconds((from + to) / 2), BackOff.Next(failures, lost, jitter: 0.5));
    }

    [Theory]
    [InlineData(1, 0, 1.0, 1.5)]
    [InlineData(1, 1, 1.0, 1.5)]
    [InlineData(1, 5, 5.0, 7.5)]
    [InlineData(4, 5, 8.0, 12.0)]
    [InlineData(1, 60, 60.0, 90.0)]
    [InlineData(9, 300, 300.0, 330.0)]
    [InlineData(1, 3600, 3600.0, 3630.0)]
    [InlineData(1, 3601, 3600.0, 3630.0)]
    [InlineData(1, ushort.MaxValue, 3600.0, 3630.0)]
    public void Next_RefusedWithATime_IsNotBeforeItAndCapsItAtAnHour(
        int failures, int seconds, double from, double to)
    {
        ConnectionEnd end = new(ConnectionEndKind.Refused, "")
        {
            Refuse = RefuseReason.RateLimited,
            RetryAfter = TimeSpan.FromSeconds(seconds),
        };
        Assert.Equal(TimeSpan.FromSeconds(from), BackOff.Next(failures, end, jitter: 0));
        Assert.Equal(TimeSpan.FromSeconds(to), BackOff.Next(failures, end, jitter: 1));
    }

    [Theory]
    [InlineData(ByeReason.Normal, 1)]
    [InlineData(ByeReason.ShuttingDown, 1)]
    [InlineData(ByeReason.Superseded, 60)]
    [InlineData(ByeReason.Idle, 1)]
    [InlineData(ByeReason.ProtocolError, 1)]
    [InlineData(ByeReason.ServerError, 1)]
    public void Next_Bye_WaitsAMinuteOnlyWhenSuperseded(ByeReason reason, double from) =>
        Assert.Equal(TimeSpan.FromSeconds(from), BackOff.Next(1, Endings.OfBye(reason), jitter: 0));
}
