using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>Several brokers in the list.</summary>
[Trait("Stage", "faults")]
public sealed class FailoverTests
{
    [Fact]
    public async Task Forward_FirstBrokerGone_FlowsOverTheSecondAndNothingIsLost()
    {
        await using MosquittoBroker first = await MosquittoBroker.StartAsync();
        await using MosquittoBroker second = await MosquittoBroker.StartAsync();
        await using Subscriber atFirst = await Subscriber.StartAsync(first.ClientPort, RunningGateway.Id);
        await using Subscriber atSecond = await Subscriber.StartAsync(second.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(
            FieldDevices.IdsWithKey(10),
            first.Port,
            configuration => configuration.Mqtt.Brokers.Add(RunningGateway.Uri(second.Port)));
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, 10);
        await devices.SendAsync(100);
        await Patience.UntilAsync(
            () => atFirst.Deliveries.Count > 100,
            () => $"nothing arrives at the first: {gateway.Status()}\n{gateway.Log.Tail}");
        await first.StopAsync();
        await devices.SendAsync(100);
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        Assert.Equal(RunningGateway.Uri(second.Port), gateway.Status().Broker.Address);
        Assert.NotEqual(0, atSecond.Deliveries.Count);

        // What the first had confirmed lies with it: its consumer gets that once it is back.
        await first.StartAsync();
        await devices.ArriveExactlyAsync([atFirst.Deliveries, atSecond.Deliveries]);
    }

    [Fact]
    public async Task Forward_FirstBrokerKilled_DevicesAreServedByTheSecond()
    {
        await using MosquittoBroker first = await MosquittoBroker.StartAsync();
        await using MosquittoBroker second = await MosquittoBroker.StartAsync();
        await using Subscriber atSecond = await Subscriber.StartAsync(second.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(
            FieldDevices.IdsWithKey(10),
            first.Port,
            configuration => configuration.Mqtt.Brokers.Add(RunningGateway.Uri(second.Port)));
        await Patience.UntilAsync(() => gateway.Status().Broker.IsConnected, () => $"{gateway.Status()}");
        await first.KillAsync();
        // Nothing was sent before: all of it has to come over the second.
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, 10);
        await devices.SendAsync(100);
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        await devices.ArriveExactlyAsync(atSecond.Deliveries);
    }
}
