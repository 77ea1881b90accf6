using System.Text.Json;

using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>What the disk is for, and what it is not.</summary>
public sealed class BufferDirectoryTests
{
    [Fact]
    public async Task FrameAboveTheBrokersLargestPacket_IsSafeInQuarantineAndBlocksNobody()
    {
        var options = new MosquittoOptions { PacketBytesMax = 2000 };
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(options);
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using var gateway = new GatewayProcess([], broker.Port);
        await gateway.StartAsync();
        using RawDevice device = await RawDevice.OpenAsync(gateway.Endpoint, "raw-1", boot: 9);
        await device.SendDataAsync(1, 11);
        await device.SendAsync(FrameType.Data, 2, RawDevice.DataBody(12, paddingBytes: 3000));
        await device.SendDataAsync(3, 13);
        await device.ExpectAckAsync(3);
        await Patience.UntilAsync(() => subscriber.Gaps.Count == 1, () => $"no gap is told\n{gateway.Output}");
        Assert.Equal([1u, 3u], subscriber.Deliveries.Keys().Select(k => k.Sequence));
        Assert.Equal("refused", subscriber.Gaps[0].GetProperty("reason").GetString());
        string[] lines = (await gateway.BufferAsync("export", "--quarantine")).Split('\n');
        using JsonDocument exported = JsonDocument.Parse(Assert.Single(lines, line => line.StartsWith('{')));
        JsonElement payload = exported.RootElement.GetProperty("payload");
        Assert.Equal("raw-1", payload.GetProperty("device").GetString());
        Assert.Equal(9u, payload.GetProperty("boot").GetUInt32());
        Assert.Equal(2u, payload.GetProperty("seq").GetUInt32());
        Assert.NotEqual("", exported.RootElement.GetProperty("reason").GetString());
    }

    [Fact]
    public async Task BrokerThere_NoFrameTouchesTheDisk()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(FieldDevices.IdsWithKey(5), broker.Port);
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, 5);
        await devices.SendAsync(500);
        await devices.FlushAsync(gateway);
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
        Assert.Equal([".lock"], Names(gateway));
        await gateway.RestartAsync();
        Assert.Equal([".lock", "custody"], Names(gateway));
    }

    [Fact]
    public async Task SecondGatewayOnTheSameDirectory_EndsAndSaysWhy()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using var gateway = new GatewayProcess([], broker.Port);
        await gateway.StartAsync();
        (int exitCode, string output) = await gateway.StartAnotherAsync();
        Assert.NotEqual(0, exitCode);
        Assert.Contains("another gateway uses it; give each a directory of its own", output, StringComparison.Ordinal);
        using RawDevice device = await RawDevice.OpenAsync(gateway.Endpoint, "raw-1");
        await device.SendDataAsync(1);
        await device.ExpectAckAsync(1);
    }

    private static IEnumerable<string> Names(RunningGateway gateway) => Directory
        .EnumerateFileSystemEntries(gateway.BufferDirectory, "*", SearchOption.AllDirectories)
        .Select(e => Path.GetRelativePath(gateway.BufferDirectory, e))
        .Order(StringComparer.Ordinal);
}
