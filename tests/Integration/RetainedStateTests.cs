using System.Text.Json;

using IotTcpGateway.DeviceClient;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using MQTTnet;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>What a consumer that comes late finds at the broker.</summary>
public sealed class RetainedStateTests
{
    private const string Gateway = "telemetry/gw/status";
    private const string DeviceStatus = "telemetry/gw/dev-1/status";
    private const string DeviceMeta = "telemetry/gw/dev-1/meta";

    [Fact]
    public async Task Process_Killed_ItsWillSaysOffline()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using var gateway = new GatewayProcess([], broker.Port);
        await gateway.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await subscriber.SeesStateAsync(Gateway, "online");
        await gateway.KillAsync();
        await subscriber.SeesStateAsync(Gateway, "offline");
        await FindsRetainedAsync(broker, Gateway, "offline");
    }

    [Fact]
    public async Task Process_Terminated_SaysOfflineForAllAndEndsWithZero()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using var gateway = new GatewayProcess(FieldDevices.IdsWithKey(3), broker.Port);
        await gateway.StartAsync();
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, 3);
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        foreach (FieldDevice device in devices.All)
            await subscriber.SeesStateAsync($"telemetry/gw/{device.Id}/status", "online");
        Assert.True(await gateway.TerminateAsync() == 0, gateway.Output);
        foreach (FieldDevice device in devices.All)
        {
            MqttApplicationMessage status =
                await subscriber.SeesStateAsync($"telemetry/gw/{device.Id}/status", "offline");
            Assert.Equal("shutting-down", Subscriber.JsonOf(status).GetProperty("reason").GetString());
        }

        await FindsRetainedAsync(broker, Gateway, "offline");
    }

    [Fact]
    public async Task Device_ComesDescribesAndGoes_StatusAndMetaAreRetained()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using RunningGateway gateway = RunningGateway.Start(["dev-1"], broker.Port);
        await using (var device = new FieldDevice(1, "dev-1", gateway.Endpoint, gateway.Keys["dev-1"], isTagged: true))
        {
            await FindsRetainedAsync(broker, DeviceStatus, "online");
            await HasMetaAsync(broker);
        }

        await FindsRetainedAsync(broker, DeviceStatus, "offline");
        await HasMetaAsync(broker);
        await FindsRetainedAsync(broker, Gateway, "online");
    }

    [Fact]
    public async Task Broker_ForgetsEverything_IsToldAgain()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(
            new MosquittoOptions { IsPersistent = false });
        await using RunningGateway gateway = RunningGateway.Start(FieldDevices.IdsWithKey(2), broker.Port);
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, 2);
        await FindsRetainedAsync(broker, DeviceStatus, "online");
        await devices.All[1].DisposeAsync();
        await FindsRetainedAsync(broker, "telemetry/gw/dev-2/status", "offline");
        await broker.RestartAsync();
        await FindsRetainedAsync(broker, Gateway, "online");
        await FindsRetainedAsync(broker, DeviceStatus, "online");
        await FindsRetainedAsync(broker, "telemetry/gw/dev-2/status", "offline");
        await HasMetaAsync(broker);
    }

    // A change of one half of a device's state once made the gateway leave out the other half on a new link.
    [Fact]
    public async Task Device_DescribesAnewWhileTheBrokerIsAway_StatusIsToldAgainToo()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(
            new MosquittoOptions { IsPersistent = false });
        await using RunningGateway gateway = RunningGateway.Start(["dev-1"], broker.Port);
        await using var device = new FieldDevice(1, "dev-1", gateway.Endpoint, gateway.Keys["dev-1"], isTagged: true);
        await FindsRetainedAsync(broker, DeviceStatus, "online");
        await broker.StopAsync();
        device.Client.Describe([new DescribedChannel(9, DataType.Bool, "added", "")]);
        // The frame comes after the description, and is taken after it.
        await device.SendAsync(1);
        await Patience.UntilAsync(() => gateway.Status().Frames.Received == 1, () => $"{gateway.Status()}");
        await broker.StartAsync();
        await FindsRetainedAsync(broker, DeviceStatus, "online");
        await using Subscriber latecomer = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await latecomer.SeesAsync(DeviceMeta, json => json.GetProperty("channels").GetArrayLength() == 4);
    }

    private static async Task HasMetaAsync(MosquittoBroker broker)
    {
        await using Subscriber latecomer = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        MqttApplicationMessage meta = await latecomer.SeesAsync(DeviceMeta, _ => true);
        using JsonDocument expected = JsonDocument.Parse("""
            {"device":"dev-1","firmware":"1.2.3","channels":[
              {"channel":1,"name":"temperature","type":"f32","unit":"Cel"},
              {"channel":2,"name":"count","type":"u32","unit":""},
              {"channel":3,"name":"note","type":"text","unit":"§"}]}
            """);
        Assert.True(JsonElement.DeepEquals(expected.RootElement, Subscriber.JsonOf(meta)), Subscriber.TextOf(meta));
    }

    // A consumer that comes now must find it: so it may take a few that come, until the gateway has said it.
    private static async Task FindsRetainedAsync(MosquittoBroker broker, string topic, string state)
    {
        await using Subscriber latecomer = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await latecomer.SeesStateAsync(topic, state);
        await using Subscriber later = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        MqttApplicationMessage found = await later.SeesStateAsync(topic, state);
        Assert.True(found.Retain, $"{topic} is not retained");
    }
}
