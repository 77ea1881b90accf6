using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>The same check against a broker of another make.</summary>
public sealed class MqttNetServerTests
{
    [Fact]
    public async Task Forward_BrokerRestarted_EverythingArrives()
    {
        await using var broker = new MqttNetBroker(RunningGateway.Id);
        await broker.StartAsync();
        await Crossing.RunAsync(
            broker, broker.Deliveries, atEnd: gateway => Assert.Equal("5", gateway.Status().Broker.MqttVersion));
    }

    [Fact]
    public async Task Forward_BrokerSpeaksOnly311_FallsBackAndEverythingArrives()
    {
        await using var broker = new MqttNetBroker(RunningGateway.Id) { SpeaksOnly311 = true };
        await broker.StartAsync();
        await Crossing.RunAsync(
            broker, broker.Deliveries, atEnd: gateway => Assert.Equal("3.1.1", gateway.Status().Broker.MqttVersion));
    }

    [Fact]
    public async Task Forward_SubscriberAtTheBroker_SeesTheSameAsTheBroker()
    {
        await using var broker = new MqttNetBroker(RunningGateway.Id);
        await broker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.Port, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(FieldDevices.IdsWithKey(10), broker.Port);
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, 10);
        await devices.SendAsync(50);
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
        await devices.ArriveExactlyAsync(broker.Deliveries);
    }
}
