using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>A broker that is there and answers nothing: what is on the way to it stays with the gateway.</summary>
[Trait("Stage", "faults")]
public sealed class FrozenBrokerTests
{
    private const int Devices = 10;
    private const int Frames = 30;

    [Fact]
    public async Task Forward_ReceiveMaximumOfThree_NoMoreAreOnTheWay()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(new MosquittoOptions { InFlightMax = 3 });
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = await StartAsync(broker);
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices);
        await SendIntoTheFrozenAsync(broker, gateway, devices);
        Assert.Equal(3, gateway.Status().Broker.InFlight);
        broker.Thaw();
        await devices.FlushAsync(gateway);
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
    }

    [Fact]
    public async Task Forward_BrokerKilledWithMessagesOnTheWay_TheyAreSentAgain()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        // Killed, it forgets what came after its last regular end: so that has to know the subscriber.
        await broker.RestartAsync();
        await using RunningGateway gateway = await StartAsync(broker);
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices);
        await SendIntoTheFrozenAsync(broker, gateway, devices);
        await broker.KillAsync();
        Assert.Equal(0, devices.Acknowledged);
        await broker.StartAsync();
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
        Assert.Equal(0, subscriber.Deliveries.OutOfOrder);
        Assert.Equal(1, subscriber.Sessions);
    }

    [Fact]
    public async Task Forward_NoPubackInTime_LinkIsMadeAnewAndNothingIsLost()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = await StartAsync(broker, ackTimeout: TimeSpan.FromMilliseconds(500));
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices);
        await SendIntoTheFrozenAsync(broker, gateway, devices);
        await Patience.UntilAsync(
            () => !gateway.Status().Broker.IsConnected,
            () => $"it believes in a broker that does not answer: {gateway.Status()}");
        Assert.Contains("PUBACK", gateway.Status().Broker.LastFailure, StringComparison.Ordinal);
        Assert.Equal(0, devices.Acknowledged);
        broker.Thaw();
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
    }

    private static async Task<RunningGateway> StartAsync(MosquittoBroker broker, TimeSpan? ackTimeout = null)
    {
        var gateway = RunningGateway.Start(
            FieldDevices.IdsWithKey(Devices),
            broker.Port,
            configuration => configuration.Mqtt.AckTimeout = ackTimeout ?? configuration.Mqtt.AckTimeout);
        await Patience.UntilAsync(
            () => gateway.Status().Broker is { IsConnected: true, InFlight: 0, Published: > 0 },
            () => $"{gateway.Status()}");
        return gateway;
    }

    private static async Task SendIntoTheFrozenAsync(
        MosquittoBroker broker, RunningGateway gateway, FieldDevices devices)
    {
        broker.Freeze();
        await devices.SendAsync(Frames);
        await Patience.UntilAsync(
            () => gateway.Status() is { Buffer.Records: Devices * Frames, Broker.InFlight: > 0 },
            () => $"frames are not all taken: {gateway.Status()}");
    }
}
