using System.Text.Json;

using IotTcpGateway.Configuration;
using IotTcpGateway.DeviceClient;
using IotTcpGateway.Ingest;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>An outage that is longer than the disk is large: what is missing is what was told.</summary>
[Trait("Stage", "faults")]
public sealed class DiskFullTests
{
    private const int Devices = 4;
    private const int Frames = 1200;

    [Fact]
    public async Task WhenFull_DropOldest_GapReportsCoverExactlyWhatIsMissing()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(FieldDevices.IdsWithKey(Devices), broker.Port, Small);
        await broker.StopAsync();
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, Devices, Sample.LargeBody);
        await devices.SendAsync(Frames);
        await devices.FlushAsync(gateway);
        Assert.InRange(gateway.Status().Buffer.Disk.Bytes, 1, gateway.Status().Buffer.Disk.BytesMax);
        await broker.StartAsync();
        await EverythingIsToldAsync(gateway, subscriber, devices.All);
        Assert.All(devices.All, d => Assert.NotEmpty(GapsOf(subscriber, d.Id)));
    }

    [Fact]
    public async Task WhenFull_DropOldest_OnlyTheLowestPriorityLoses()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start([], broker.Port, c =>
        {
            Small(c);
            ListenerOptions low = RunningGateway.Listener("low", "127.0.0.1:0");
            ListenerOptions high = RunningGateway.Listener("high", "127.0.0.1:0");
            (low.Priority, high.Priority) = (1, 3);
            c.Listeners = [low, high];
        });
        await broker.StopAsync();
        await using var low = new FieldDevice(1, "low", gateway.EndpointOf("low"), null, false, Sample.LargeBody);
        await using var high = new FieldDevice(2, "high", gateway.EndpointOf("high"), null, false, Sample.LargeBody);
        await Task.WhenAll(low.SendAsync(2 * Frames), high.SendAsync(Frames / 4));
        using var guard = new CancellationTokenSource(Patience.HangGuard);
        await Task.WhenAll(low.Client.FlushAsync(guard.Token), high.Client.FlushAsync(guard.Token));
        await broker.StartAsync();
        await EverythingIsToldAsync(gateway, subscriber, [low, high]);
        Assert.NotEmpty(GapsOf(subscriber, "low"));
        Assert.Empty(GapsOf(subscriber, "high"));
        Assert.Equal(Frames / 4, high.With(FrameFate.Acknowledged).Count());
    }

    private static void Small(GatewayConfiguration configuration)
    {
        configuration.Buffer.Memory = 512 * 1024;
        configuration.Buffer.Disk = 1 << 20;
        configuration.Buffer.WhenFull = Buffer.WhenFull.DropOldest;
        configuration.Buffer.SpillAfter = TimeSpan.FromMilliseconds(50);
    }

    // Every frame of every device has arrived, or is in a gap report, and never both.
    private static async Task EverythingIsToldAsync(
        RunningGateway gateway, Subscriber subscriber, IReadOnlyList<FieldDevice> devices)
    {
        long sent = devices.Sum(d => d.Sent);
        await Patience.UntilAsync(
            () => devices.Sum(d => Arrived(subscriber, d.Id).Count + GapsOf(subscriber, d.Id).Count) >= sent,
            () => $"of {sent} {subscriber.Deliveries.Count} arrived, gaps: {string.Join("; ", subscriber.Gaps)}: "
                + $"{gateway.Status()}\n{gateway.Log.Tail}");
        Assert.All(devices, device =>
        {
            HashSet<uint> arrived = Arrived(subscriber, device.Id), missing = GapsOf(subscriber, device.Id);
            Assert.False(arrived.Overlaps(missing), $"{device.Id}: told as given up, and yet arrived");
            Assert.Equal(device.Sent, (uint)arrived.Union(missing).Count());
        });
        Assert.Empty(subscriber.Deliveries.Faults);
    }

    private static HashSet<uint> Arrived(Subscriber subscriber, string device) =>
        [.. subscriber.Deliveries.Keys().Where(k => k.Device == device).Select(k => k.Sequence)];

    // A report with holes does not say which: none of these may be here.
    private static HashSet<uint> GapsOf(Subscriber subscriber, string device)
    {
        HashSet<uint> all = [];
        foreach (JsonElement gap in subscriber.Gaps.Where(g => g.GetProperty("device").GetString() == device))
        {
            uint from = gap.GetProperty("from").GetUInt32(), to = gap.GetProperty("to").GetUInt32();
            Assert.Equal("buffer-full", gap.GetProperty("reason").GetString());
            Assert.Equal(to - from + 1, gap.GetProperty("count").GetUInt32());
            for (uint sequence = from; sequence <= to; sequence++)
                all.Add(sequence);
        }

        return all;
    }
}
