using IotTcpGateway.DeviceClient;
using IotTcpGateway.Health;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>The policies that give frames up: counted and told, never silent.</summary>
[Trait("Stage", "faults")]
public sealed class BufferFullTests
{
    private const int Devices = 9;
    private const int Frames = 300;

    [Fact]
    public Task WhenFull_DropOldest_TheOldestAreGivenUpAndEveryDropIsTold() =>
        DropsAreToldAsync(Buffer.WhenFull.DropOldest, (_, refused) => refused);

    [Fact]
    public Task WhenFull_DropNewest_TheNewestAreGivenUpAndEveryDropIsTold() =>
        DropsAreToldAsync(Buffer.WhenFull.DropNewest, (sent, _) => sent);

    // Which frames of a device go is told by the number of the last of them: they are in a row.
    private static async Task DropsAreToldAsync(Buffer.WhenFull policy, Func<int, int, int> lastGivenUp)
    {
        int port = Loopback.FreePort();
        string[] ids = FieldDevices.IdsWithKey(Devices);
        await using RunningGateway gateway = RunningGateway.Start(ids, port, configuration =>
        {
            configuration.Buffer.Memory = 128 * 1024;
            configuration.Buffer.Disk = 0;
            configuration.Buffer.WhenFull = policy;
        });
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices, Sample.LargeBody);
        await devices.SendAsync(Frames);
        await Patience.UntilAsync(
            () => IsAtRest(gateway, devices),
            () => $"no rest: {gateway.Status()}\n{devices.Describe()}\n{gateway.Log.Tail}");
        Assert.Equal(0, devices.Acknowledged);
        Assert.NotEqual(0, gateway.Status().Buffer.Dropped);
        Assert.All(devices.All, device =>
        {
            int[] refused = [.. device.With(FrameFate.Refused).Select(o => (int)o.Number).Order()];
            int last = lastGivenUp((int)device.Client.Status.Sent, refused.Length);
            Assert.Equal(Enumerable.Range(last - refused.Length + 1, refused.Length), refused);
        });

        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(new MosquittoOptions { Port = port });
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await devices.FlushAsync(gateway);
        FrameOutcome[] given = [.. devices.All.SelectMany(d => d.With(FrameFate.Refused))];
        Assert.All(given, outcome => Assert.Equal(NackReason.Dropped, outcome.Reason));
        Assert.Equal(given.Length, gateway.Status().Buffer.Dropped);
        Assert.Equal(Devices * Frames, devices.Acknowledged + given.Length);
        await devices.ArriveByKeyAsync(subscriber.Deliveries);
    }

    // Each device has sent all, or as many as may be open; all of it is in the buffer, or given up and told.
    private static bool IsAtRest(RunningGateway gateway, FieldDevices devices)
    {
        DeviceClientStatus[] all = [.. devices.All.Select(d => d.Client.Status)];
        BufferStatus buffer = gateway.Status().Buffer;
        int window = RunningGateway.Listener("", "").MaxWindow;
        return Array.TrueForAll(all, s => s.Sent == Frames || s.Sent - s.Refused - s.Acknowledged == window)
            && buffer.Records + buffer.Dropped == all.Sum(s => s.Sent)
            && buffer.Dropped == all.Sum(s => s.Refused + s.Acknowledged);
    }
}
