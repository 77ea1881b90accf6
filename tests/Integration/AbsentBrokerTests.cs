using IotTcpGateway.DeviceClient;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>No broker when the gateway starts.</summary>
[Trait("Stage", "faults")]
public sealed class AbsentBrokerTests
{
    private const int Devices = 8;
    private const int Frames = 100;

    [Fact]
    public async Task Start_NoBrokerAndUnknownHostName_DevicesWaitAtTheCapUntilTheBrokerAppears()
    {
        int port = Loopback.FreePort();
        string[] ids = FieldDevices.IdsWithKey(Devices);
        await using RunningGateway gateway = RunningGateway.Start(ids, port, configuration =>
        {
            configuration.Mqtt.Brokers.Insert(0, "mqtt://no-such-broker.invalid:1883");
            configuration.Buffer.Memory = 128 * 1024;
            configuration.Buffer.Disk = 0;
        });
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices, Sample.LargeBody);
        await devices.SendAsync(Frames);
        await Patience.UntilAsync(() => gateway.Status().Buffer.IsFull, () => $"never full: {gateway.Status()}");
        using var latecomer = await HandMadeDevice.ConnectAsync(gateway.Endpoint, "latecomer");

        Assert.Equal(0, latecomer.Window);
        Assert.False(gateway.Status().IsReady);
        Assert.InRange(gateway.Status().Buffer.MemoryBytes, 1, gateway.Status().Buffer.MemoryBytesMax);
        Assert.InRange(gateway.Status().Buffer.MemoryBytesMax, 1, 128 * 1024);
        Assert.Equal(0, devices.Acknowledged);
        Assert.True(gateway.Status().Buffer.Records < Devices * Frames, "the buffer holds more than it can");
        Assert.All(devices.All, device => Assert.True(device.Client.Status.Connected));

        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(new MosquittoOptions { Port = port });
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        // A window that held a device back is told when it opens, by an ACK that repeats the sequence: 0, it sent none.
        (uint Sequence, ushort Window) told;
        do
        {
            told = await latecomer.ReceiveAckAsync();
            Assert.Equal(0u, told.Sequence);
        }
        while (told.Window == 0);
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        await devices.ArriveByKeyAsync(subscriber.Deliveries);
        Assert.Equal(0, gateway.Status().Buffer.Dropped);
        Assert.True(gateway.Status().IsReady);
        Assert.All(devices.All, device => Assert.Empty(device.With(FrameFate.Dropped)));
    }
}
