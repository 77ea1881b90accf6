using System.Diagnostics;
using System.Text.Json;

using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>The broker is away for longer than the gateway waits for it: frames are safe on disk.</summary>
[Trait("Stage", "faults")]
public sealed class OutageTests
{
    private const int Devices = 10;
    private const int Before = 20;
    private const int Meanwhile = 100;

    [Fact]
    public async Task BrokerAway_FramesAreAcknowledgedMeanwhileAndArriveInOrderOnce()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(
            FieldDevices.IdsWithKey(Devices), broker.Port, c => c.Buffer.SpillAfter = TimeSpan.FromMilliseconds(200));
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices);
        await devices.SendAsync(Before);
        await devices.FlushAsync(gateway);
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
        // Once the broker has confirmed this it has all that the subscriber had to confirm before.
        await subscriber.PublishAsync("subscriber", "");
        await broker.StopAsync();
        await devices.SendAsync(Meanwhile);
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        Assert.Equal(Devices * Meanwhile, gateway.Status().Buffer.Disk.Records);

        await broker.StartAsync();
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
        Assert.Equal((0, 0), (subscriber.Deliveries.Duplicates, subscriber.Deliveries.OutOfOrder));
        await Patience.UntilAsync(
            () => gateway.Status().Buffer is { Records: 0, Disk: { Records: 0, IsSpilling: false } },
            () => $"it does not come to rest: {gateway.Status()}");
        Assert.Equal(0, gateway.Status().Buffer.Dropped);
    }

    [Fact]
    public async Task GatewayKilledMeanwhile_EverythingAcknowledgedArrives()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using var gateway = new GatewayProcess(FieldDevices.IdsWithKey(Devices), broker.Port, "200ms");
        await gateway.StartAsync();
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices);
        await devices.SendAsync(Before);
        await broker.StopAsync();
        await devices.SendAsync(Meanwhile);
        await devices.FlushAsync();
        devices.AreAllAcknowledged();
        await gateway.KillAsync();
        await broker.StartAsync();
        await gateway.StartAsync();
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
    }

    [Fact]
    public async Task GatewayStoppedMeanwhile_LeavesEverythingSafeAndTellsExactlyThatAtTheNextWelcome()
    {
        const uint frames = 60; // no more than the window
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using var gateway = new GatewayProcess([], broker.Port, "10m");
        await gateway.StartAsync();
        await broker.StopAsync();
        using (RawDevice device = await RawDevice.OpenAsync(gateway.Endpoint, "raw-1", boot: 5))
        {
            for (uint sequence = 1; sequence <= frames; sequence += 20)
            {
                for (uint one = sequence; one < sequence + 20; one++)
                    await device.SendDataAsync(one);
                await device.PingAsync();
            }

            long since = Stopwatch.GetTimestamp();
            Assert.Equal(0, await gateway.TerminateAsync());
            Assert.InRange(Stopwatch.GetElapsedTime(since), TimeSpan.Zero, TimeSpan.FromSeconds(10));
            await device.ExpectAckAsync(frames);
        }

        await gateway.StartAsync();
        using (RawDevice again = await RawDevice.OpenAsync(gateway.Endpoint, "raw-1", boot: 5, highestUsed: frames))
            Assert.Equal(frames, again.Welcome!.LastSafe);
        await broker.StartAsync();
        await Patience.UntilAsync(
            () => subscriber.Deliveries.Count >= frames,
            () => $"{subscriber.Deliveries.Count} arrived\n{gateway.Output}");
        Assert.Equal(frames, (uint)subscriber.Deliveries.Keys().Select(k => k.Sequence).Distinct().Count());
        Assert.Equal(0, subscriber.Deliveries.OutOfOrder);
    }

    [Fact]
    public async Task LiveFirst_FreshFrameArrivesBeforeTheBacklogsEnd_WhichIsMarked()
    {
        const int backlog = 300;
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start([], broker.Port, c =>
        {
            c.Buffer.SpillAfter = TimeSpan.FromMilliseconds(200);
            c.Buffer.Drain = Buffer.DrainOrder.LiveFirst;
            c.Buffer.DrainRate = 100;
        });
        await broker.StopAsync();
        await using var old = new FieldDevice(1, "old", gateway.Endpoint, null, isTagged: false);
        await using var fresh = new FieldDevice(2, "fresh", gateway.Endpoint, null, isTagged: false);
        await old.SendAsync(backlog);
        using var guard = new CancellationTokenSource(Patience.HangGuard);
        await old.Client.FlushAsync(guard.Token);
        await broker.StartAsync();
        await Patience.UntilAsync(() => subscriber.Deliveries.Count > 0, () => $"nothing comes: {gateway.Log.Tail}");
        await fresh.SendAsync(1);
        await fresh.Client.FlushAsync(guard.Token);
        Assert.True(gateway.Status().Buffer.Records > 0, "the backlog was gone before the fresh frame came");

        await Patience.UntilAsync(
            () => subscriber.Deliveries.Keys().Select(k => (k.Device, k.Sequence)).Distinct().Count() == backlog + 1,
            () => $"{subscriber.Deliveries.Count} messages came: {gateway.Status()}");
        List<MessageKey> order = [.. subscriber.Deliveries.Keys()];
        Assert.InRange(order.FindIndex(k => k.Device == "fresh"), 1, order.Count - 10);
        Assert.All(order, key => Assert.Equal(
            key.Device == "old", IsBackfill(subscriber.Deliveries.Find(key)!)));
        Assert.Equal(0, subscriber.Deliveries.OutOfOrder);
    }

    private static bool IsBackfill(Delivered message)
    {
        using JsonDocument document = JsonDocument.Parse(message.Payload);
        return document.RootElement.TryGetProperty("backfill", out JsonElement backfill) && backfill.GetBoolean();
    }
}
