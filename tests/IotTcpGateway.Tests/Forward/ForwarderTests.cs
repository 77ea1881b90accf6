using IotTcpGateway.Buffer;
using IotTcpGateway.Forward;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Microsoft.Extensions.Logging;

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

    [Fact]
    public async Task Record_WithChannelsInTheTopic_IsSettledWhenEveryMessageIsConfirmed()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { Topic = "t/{gateway}/{device}/{channel}" }, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        byte[] body = new byte[64];
        var writer = new DataWriter(body, 1_000_000);
        writer.Add(1, 0, 10);
        writer.Add(2, 0, 20);
        rig.Buffer.TryAdd(
            rig.Buffer.Open("pump-7", 7), 1, ChannelTable.Empty, rig.Clock.Arrival(), body.AsSpan(0, writer.Written));

        List<ReceivedPublish> messages = await link.NextAsync(2);
        Assert.Equal(["t/gw/pump-7/ch1", "t/gw/pump-7/ch2"], messages.Select(m => m.Topic));
        await link.PubAckAsync(messages[1]);
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.InFlight == 1);
        Assert.Equal(1, rig.Buffer.Records);
        await link.PubAckAsync(messages[0]);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
    }

    [Theory]
    [InlineData("mqtt://host", "host", 1883, false)]
    [InlineData("mqtt://host:1/", "host", 1, false)]
    [InlineData("mqtts://host", "host", 8883, true)]
    [InlineData("mqtts://[::1]:9", "::1", 9, true)]
    [InlineData("mqtt://127.0.0.1", "127.0.0.1", 1883, false)]
    public void TryParse_Address_IsReadAndWrittenAlike(string text, string host, int port, bool isTls)
    {
        BrokerAddress? address = BrokerAddress.TryParse(text);
        Assert.Equal(new BrokerAddress(host, port, isTls), address);
        Assert.Equal(address, BrokerAddress.TryParse(address!.ToString()));
    }

    [Theory]
    [InlineData("host:1883")]
    [InlineData("http://host")]
    [InlineData("mqtt://")]
    [InlineData("mqtt://user:secret@host")]
    [InlineData("mqtt://host/path")]
    [InlineData("mqtt://host?x=1")]
    public void TryParse_AnythingElse_IsNoAddress(string text) => Assert.Null(BrokerAddress.TryParse(text));

    [Fact]
    public void LogEvents_OfForwarding_HaveEachAnIdOfItsOwnInItsRange()
    {
        List<int> ids = [.. typeof(Forwarder).Assembly.GetTypes()
            .Where(t => t.Namespace == typeof(Forwarder).Namespace)
            .SelectMany(t => t.GetMethods(System.Reflection.BindingFlags.Static | System.Reflection.BindingFlags.NonPublic))
            .SelectMany(m => m.GetCustomAttributes(typeof(LoggerMessageAttribute), false).Cast<LoggerMessageAttribute>())
            .Select(a => a.EventId)];
        Assert.Equal(ids.Distinct().Count(), ids.Count);
        Assert.All(ids, id => Assert.InRange(id, 1400, 1499));
        Assert.Equal(typeof(ForwardEvents).GetFields().Select(f => (int)f.GetRawConstantValue()!).Order(), ids.Order());
    }
}
