using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public class KeepAliveTests
{
    // Idle timeout 30 s. Seconds since received, sent, ping; seconds since a frame began, or -1.
    [Theory]
    [InlineData(0, 0, 0, -1, KeepAliveAction.Wait, 10)]
    [InlineData(9, 9, 9, -1, KeepAliveAction.Wait, 1)]
    [InlineData(10, 0, 10, -1, KeepAliveAction.Ping, 10)]
    [InlineData(0, 10, 10, -1, KeepAliveAction.Ping, 10)]
    [InlineData(10, 10, 4, -1, KeepAliveAction.Wait, 6)]
    [InlineData(3, 2, 99, -1, KeepAliveAction.Wait, 7)]
    [InlineData(20, 10, 10, -1, KeepAliveAction.Ping, 10)]
    [InlineData(25, 15, 10, -1, KeepAliveAction.Ping, 5)]
    [InlineData(30, 0, 0, -1, KeepAliveAction.EndSilent, 0)]
    [InlineData(31, 99, 99, -1, KeepAliveAction.EndSilent, 0)]
    [InlineData(2, 2, 2, 2, KeepAliveAction.Wait, 8)]
    [InlineData(4, 4, 4, 9, KeepAliveAction.Wait, 1)]
    [InlineData(12, 0, 0, 10, KeepAliveAction.EndTorn, 0)]
    public void Next_Table(
        double received, double sent, double ping, double frame, object action, double dueIn)
    {
        (KeepAliveAction got, TimeSpan due) = KeepAlive.Next(
            TimeSpan.FromSeconds(30),
            TimeSpan.FromSeconds(received),
            TimeSpan.FromSeconds(sent),
            TimeSpan.FromSeconds(ping),
            frame < 0 ? null : TimeSpan.FromSeconds(frame));
        Assert.Equal(((KeepAliveAction)action, TimeSpan.FromSeconds(dueIn)), (got, due));
    }
}
