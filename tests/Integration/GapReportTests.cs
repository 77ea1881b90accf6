using System.Diagnostics.Metrics;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Forward;
using IotTcpGateway.TestKit;
using IotTcpGateway.Time;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>What was given up is told to a consumer behind a real broker.</summary>
[Trait("Stage", "faults")]
public sealed class GapReportTests
{
    private const int Devices = 500;

    [Fact]
    public async Task BrokerAwayAndRestarted_EveryGapIsToldToAConsumer()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await broker.StopAsync();
        using var meter = new Meter("gaps");
        using var buffer = new RecordBuffer(new BufferOptions(), TimeProvider.System, meter);
        using var ledger = new DropLedger(TimeProvider.System, () => 0);
        var options = new MqttOptions { Brokers = [$"mqtt://127.0.0.1:{broker.Port}"], ClientId = "iotgw-gaps" };
        var clock = new GatewayClock(TimeProvider.System, () => true);
        var log = new TestLog();
        using var forwarder = new Forwarder(
            options, RunningGateway.Id, "1", buffer, new DeviceBoard(), new CommandBoard(), clock, TimeProvider.System,
            meter, log, jitter: () => 0.1, ledger);
        forwarder.Start();
        Drop(ledger, bootId: 1);
        await broker.StartAsync();
        await Patience.UntilAsync(() => subscriber.Gaps.Count > Devices / 4, () => log.Tail);
        await broker.StopAsync();
        Drop(ledger, bootId: 2);
        await broker.StartAsync();
        await Patience.UntilAsync(() => ledger.ReportsWaiting == 0, () => $"{ledger.ReportsWaiting} wait\n{log.Tail}");
        await Patience.UntilAsync(() => ToldOnce(subscriber).Count == 2 * Devices, () => log.Tail);
        await forwarder.StopAsync();
        Assert.Equal(0, ledger.EntriesForgotten);
        Assert.All(ToldOnce(subscriber), gap => Assert.Equal((3u, 7u, 5), (gap.From, gap.To, gap.Count)));
    }

    private static void Drop(DropLedger ledger, uint bootId)
    {
        for (int device = 0; device < Devices; device++)
        {
            for (uint sequence = 3; sequence <= 7; sequence++)
                ledger.Add($"d{device}", bootId, sequence, DropReason.BufferFull);
        }
    }

    private static HashSet<(string Device, uint Boot, uint From, uint To, int Count)> ToldOnce(Subscriber subscriber) =>
        [.. subscriber.Gaps.Select(gap => (
            gap.GetProperty("device").GetString()!,
            gap.GetProperty("boot").GetUInt32(),
            gap.GetProperty("from").GetUInt32(),
            gap.GetProperty("to").GetUInt32(),
            gap.GetProperty("count").GetInt32()))];
}
