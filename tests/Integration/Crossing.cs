using IotTcpGateway.Configuration;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>
/// The check that every kind of broker must pass: ten devices, fifty frames each, the broker away in the middle while
/// the devices go on, some of them with broken connections.
/// </summary>
internal static class Crossing
{
    private const int Devices = 10;
    private const int FramesBefore = 20;
    private const int FramesWhileAway = 30;

    public static async Task RunAsync(
        ITestBroker broker,
        Deliveries deliveries,
        Action<GatewayConfiguration>? configure = null,
        Layout layout = Layout.Json,
        Action<RunningGateway>? atEnd = null)
    {
        await using RunningGateway gateway =
            RunningGateway.Start(FieldDevices.IdsWithKey(Devices), broker.Port, configure);
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices);
        await devices.SendAsync(FramesBefore);
        await Patience.UntilAsync(
            () => deliveries.Count >= Devices * FramesBefore / 2,
            () => $"the first frames do not arrive: {gateway.Status()}\n{gateway.Log.Tail}");
        Task sending = devices.SendAsync(FramesWhileAway);
        await broker.StopAsync();
        await sending;
        devices.Drop(3, new Random(7));
        await broker.StartAsync();
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        await devices.ArriveExactlyAsync(deliveries, layout);
        Assert.Equal(0, gateway.Status().Buffer.Dropped);
        Assert.Equal(1, gateway.Status().Broker.Reconnects);
        atEnd?.Invoke(gateway);
    }
}
