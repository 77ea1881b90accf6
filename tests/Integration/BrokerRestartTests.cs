using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>The whole promise at once, at size.</summary>
public sealed class BrokerRestartTests
{
    private const int Devices = 200;
    private const int Frames = 500;
    private const int Restarts = 3;
    private const int Steps = 40;

    [Fact]
    public async Task Forward_200DevicesOver3BrokerRestartsAndBrokenConnections_ArriveExactly()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(FieldDevices.IdsWithKey(Devices), broker.Port);
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices);
        Task sending = devices.SendAsync(Frames);
        await DisturbAsync(broker, subscriber.Deliveries, gateway, devices);
        await sending;
        await devices.FlushAsync(gateway);

        devices.AreAllAcknowledged();
        Assert.Equal(Devices * Frames, devices.Acknowledged);
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
        Assert.Equal(0, subscriber.Deliveries.OutOfOrder);
        Assert.Equal(1, subscriber.Sessions);
        Assert.Equal(Restarts, gateway.Status().Broker.Reconnects);
        Assert.Equal(0, gateway.Status().Buffer.Records);
        Assert.Equal(0, gateway.Status().Buffer.Dropped);
    }

    // By what has arrived, not by the clock: so it always happens while frames are on their way.
    private static async Task DisturbAsync(
        MosquittoBroker broker, Deliveries deliveries, RunningGateway gateway, FieldDevices devices)
    {
        var random = new Random(20);
        int restarted = 0;
        for (int step = 1; step <= Steps; step++)
        {
            // The last fifth is left alone: connections broken at the very end would only be waited for.
            int mark = Devices * Frames / 5 * 4 / Steps * step;
            await Patience.UntilAsync(
                () => deliveries.Count >= mark,
                () => $"{deliveries.Count} of {mark} arrived: {gateway.Status()}\n{gateway.Log.Tail}");
            devices.Drop(5, random);
            if (step * (Restarts + 1) / Steps > restarted && restarted < Restarts)
            {
                restarted++;
                await broker.RestartAsync();
            }
        }
    }
}
