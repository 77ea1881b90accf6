using IotTcpGateway.Buffer;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

public sealed class ForwarderTests
{
    [Fact]
    public async Task Record_Published_IsConfirmedByItsPubAckAlone()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Add("pump-7", 42);

        ReceivedPublish message = await link.ReceivePublishAsync().WaitAsync(Rig.HangGuard);
        Assert.Equal("telemetry/gw/pump-7", message.Topic);
        Assert.Equal(
            """{"device":"pump-7","boot":7,"seq":1,"ts":1763900000000,"values":{"ch1":42}}""", message.Text);
        Assert.Equal(1, message.Qos);
        Assert.False(message.IsRetained);
        Assert.Equal(1, rig.Buffer.Records);

        await link.PubAckAsync(message);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
    }

    [Fact]
    public async Task StopAsync_WithDevicesOnTheBoard_SaysEveryoneIsOfflineThenItselfThenDisconnects()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        for (int i = 0; i < 300; i++)
        {
            rig.Board.SetStatus(new DeviceState($"d{i}", false, "shutting-down", "", "", 0, null));
        }

        Task stopping = rig.StopAsync();
        List<ReceivedPublish> received = await link.ServeAsync(_ => false).WaitAsync(Rig.HangGuard);
        await stopping.WaitAsync(Rig.HangGuard);

        Assert.Equal(301, received.Count);
        Assert.All(received, m => Assert.True(m.IsRetained));
        Assert.All(received, m => Assert.Contains("\"offline\"", m.Text, StringComparison.Ordinal));
        Assert.Equal("telemetry/gw/status", received[^1].Topic);
        Assert.True(link.HasDisconnected);
    }
}
