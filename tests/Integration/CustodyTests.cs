using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>Acknowledged is a subset of delivered, whatever happens to the gateway.</summary>
[Trait("Stage", "faults")]
public sealed class CustodyTests
{
    private const int Devices = 20;
    private const int Frames = 1000;

    [Fact]
    public async Task Gateway_StoppedAndStartedAnew_DevicesGoOnAndNothingAcknowledgedIsLost()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(FieldDevices.IdsWithKey(Devices), broker.Port);
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices);
        Task sending = devices.SendAsync(Frames);
        await ArriveAsync(subscriber, Devices * Frames / 4);
        await gateway.RestartAsync();
        await ArriveAsync(subscriber, Devices * Frames / 2);
        await gateway.RestartAsync();
        await sending;
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
    }

    [Fact]
    public async Task Gateway_Killed_NothingAcknowledgedIsLostAndDevicesSendTheRestAgain()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using var gateway = new GatewayProcess(FieldDevices.IdsWithKey(Devices), broker.Port);
        await gateway.StartAsync();
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices);
        Task sending = devices.SendAsync(Frames);
        foreach (int share in new[] { 4, 2 })
        {
            await ArriveAsync(subscriber, Devices * Frames / share);
            await gateway.KillAsync();
            await Patience.UntilAsync(
                () => devices.All.All(d => !d.Client.Status.Connected),
                () => "a device believes in a gateway that is gone");
            await devices.HoldsAcknowledgedAsync([subscriber.Deliveries]);
            Assert.True(devices.Acknowledged < Devices * Frames, "it was killed too late to prove anything");
            await gateway.StartAsync();
        }

        await sending;
        await devices.FlushAsync();
        devices.AreAllAcknowledged();
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
    }

    [Fact]
    public async Task Gateway_KilledInAnOutageOfTheBroker_NothingAcknowledgedIsLost()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using var gateway = new GatewayProcess(FieldDevices.IdsWithKey(Devices), broker.Port);
        await gateway.StartAsync();
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices);
        Task sending = devices.SendAsync(Frames);
        await ArriveAsync(subscriber, Devices * Frames / 4);
        await broker.StopAsync();
        await gateway.KillAsync();
        await broker.StartAsync();
        await devices.HoldsAcknowledgedAsync([subscriber.Deliveries]);
        await gateway.StartAsync();
        await sending;
        await devices.FlushAsync();
        devices.AreAllAcknowledged();
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
    }

    private static Task ArriveAsync(Subscriber subscriber, int count) => Patience.UntilAsync(
        () => subscriber.Deliveries.Count >= count, () => $"{subscriber.Deliveries.Count} of {count} arrived");
}
