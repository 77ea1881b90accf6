using IotTcpGateway.DeviceClient;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>The policies that give frames up: counted and told, never silent.</summary>
public sealed class BufferFullTests
{
    private const int Devices = 9;
    private const uint Frames = 300;

    [Fact]
    public async Task WhenFull_DropOldest_NewestArriveAndEveryDropIsTold()
    {
        await DropsAreToldAsync(
            Buffer.WhenFull.DropOldest, device => Assert.Equal(FrameFate.Acknowledged, FateOf(device, Frames)));
    }

    [Fact]
    public async Task WhenFull_DropNewest_OldestArriveAndEveryDropIsTold()
    {
        await DropsAreToldAsync(
            Buffer.WhenFull.DropNewest, device => Assert.Equal(FrameFate.Refused, FateOf(device, Frames)));
    }

    private static async Task DropsAreToldAsync(Buffer.WhenFull policy, Action<FieldDevice> check)
    {
        int port = Loopback.FreePort();
        await using RunningGateway gateway = RunningGateway.Start(FieldDevices.IdsWithKey(Devices), port, configuration =>
        {
            configuration.Buffer.Memory = 128 * 1024;
            configuration.Buffer.WhenFull = policy;
        });
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices, LargeBody);
        await devices.SendAsync((int)Frames);
        await Patience.UntilAsync(
            () => gateway.Status().Frames.Received == Devices * Frames,
            () => $"frames are held back: {gateway.Status()}\n{gateway.Log.Tail}");
        Assert.Equal(0, devices.Acknowledged);

        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(new MosquittoOptions { Port = port });
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await devices.FlushAsync(gateway);
        FrameOutcome[] refused = [.. devices.All.SelectMany(d => d.With(FrameFate.Refused))];
        Assert.All(refused, outcome => Assert.Equal(NackReason.Dropped, outcome.Reason));
        Assert.Equal(refused.Length, gateway.Status().Buffer.Dropped);
        Assert.Equal(Devices * Frames, devices.Acknowledged + refused.Length);
        HashSet<MessageKey> acknowledged = [.. devices.All.SelectMany(d => d.With(FrameFate.Acknowledged)
            .Select(o => new MessageKey(d.Id, o.BootId, o.Sequence, 0)))];
        await Patience.UntilAsync(
            () => subscriber.Deliveries.Count >= acknowledged.Count,
            () => $"{subscriber.Deliveries.Count} arrived of {acknowledged.Count} acknowledged");
        Assert.True(acknowledged.SetEquals(subscriber.Deliveries.Keys()), "what arrived is not what was acknowledged");
        Assert.Empty(subscriber.Deliveries.Faults);
        Assert.All(devices.All, check);
    }

    // So large that what the windows let through is more than the buffer holds.
    private static byte[] LargeBody(int device, uint number)
    {
        var body = new byte[700];
        var data = new DataWriter(body, 1_763_900_000_000_000 + number);
        return data.Add(2, 0, number) && data.AddBytes(4, 0, new byte[600]) ? body[..data.Written] : [];
    }

    private static FrameFate FateOf(FieldDevice device, ulong number) =>
        device.Ledger.Single(e => e.Outcome.Number == number).Outcome.Fate;
}
