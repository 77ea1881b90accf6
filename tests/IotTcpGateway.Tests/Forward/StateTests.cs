using IotTcpGateway.Buffer;
using IotTcpGateway.Forward;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>The retained topics of the devices.</summary>
public sealed class StateTests
{
    [Fact]
    public async Task Change_OfStatusAndChannels_IsPublishedRetainedAtQos1()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { Qos = 0 }, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Board.SetStatus(new DeviceState("pump-7", true, "", "2.1\n", "10.0.0.7", 1_763_900_000_000, null));
        ReceivedPublish status = await link.NextAsync();
        Assert.Equal(("telemetry/gw/pump-7/status", true, 1), (status.Topic, status.IsRetained, status.Qos));
        Assert.Equal("""{"state":"online","device":"pump-7","address":"10.0.0.7","since":1763900000000}""", status.Text);

        rig.Board.SetChannels("pump-7", ChannelTable.Empty.With([new Channel(1, DataType.F32, "temperature", "Cel")]));
        ReceivedPublish meta = await link.NextAsync();
        Assert.Equal(("telemetry/gw/pump-7/meta", true, 1), (meta.Topic, meta.IsRetained, meta.Qos));
        Assert.Equal(
            """{"device":"pump-7","firmware":"2.1\n","channels":[{"channel":1,"name":"temperature","type":"f32","unit":"Cel"}]}""",
            meta.Text);
    }

    [Fact]
    public async Task NewConnection_ToABrokerThatForgot_TellsEveryDevicesStateAgainOnce()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        for (int i = 0; i < 300; i++)
        {
            rig.Board.SetStatus(Online($"d{i}"));
        }

        rig.Board.SetChannels("d0", ChannelTable.Empty.With([new Channel(1, DataType.Bool, "on", "")]));
        ScriptedLink link = await rig.StartAsync(broker);
        Assert.Equal(301, (await ServeAsync(link, 301)).Distinct().Count());
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.InFlight == 0);
        link.Close();

        link = await rig.AcceptAsync(broker);
        List<string> topics = await ServeAsync(link, 301);
        Assert.Equal(301, topics.Distinct().Count());
        Assert.Contains("telemetry/gw/d0/meta", topics);
        rig.Add("pump-7");
        Assert.Equal("telemetry/gw/pump-7", (await link.NextAsync()).Topic);
    }

    [Fact]
    public async Task NewConnection_WithAChangeNotYetTold_TellsTheNewestStateAndNoOlderOneBehindIt()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Board.SetStatus(Online("d1"));
        rig.Board.SetStatus(Online("d2"));
        ScriptedLink link = await rig.StartAsync(broker, new ConnAckTerms(ReceiveMaximum: 1));
        ReceivedPublish first = await link.NextAsync();
        // d2 is still to come; it changes while d1 is in flight.
        rig.Board.SetStatus(Online("d2") with { IsOnline = false, Reason = "bye" });
        await link.PubAckAsync(first);
        ReceivedPublish second = await link.NextAsync();
        Assert.Equal("telemetry/gw/d2/status", second.Topic);
        Assert.Contains("\"offline\"", second.Text, StringComparison.Ordinal);
        await link.PubAckAsync(second);
        rig.Add("pump-7");
        Assert.Equal("telemetry/gw/pump-7", (await link.NextAsync()).Topic);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(16)]
    public async Task ManyStates_AfterAReconnect_DoNotHoldUpRecordsNorTheOtherWayRound(ushort window)
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        for (int i = 0; i < 200; i++)
        {
            rig.Board.SetStatus(Online($"d{i}"));
            rig.Add("pump-7", i);
        }

        ScriptedLink link = await rig.StartAsync(broker, new ConnAckTerms(ReceiveMaximum: window));
        List<string> topics = await ServeAsync(link, 400);
        foreach (int seen in new[] { 40, 100, 200 })
        {
            int records = topics.Take(seen).Count(t => t == "telemetry/gw/pump-7");
            // One of each in turn.
            Assert.InRange(records, (seen / 2) - 2, (seen / 2) + 2);
        }
    }

    [Fact]
    public async Task State_UnconfirmedWhenTheLinkGoes_IsToldAgain()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Board.SetStatus(Online("d1"));
        await link.NextAsync();
        link.Close();
        link = await rig.AcceptAsync(broker);
        Assert.Equal("telemetry/gw/d1/status", (await link.NextAsync()).Topic);
    }

    [Fact]
    public async Task State_RefusedForNow_IsToldAgainAfterAMinute()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { KeepAlive = TimeSpan.FromHours(1) }, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Board.SetStatus(Online("d1"));
        await rig.AnswerAsync(link, await link.NextAsync(), 0x97);
        rig.Add("pump-7");
        await rig.AnswerAsync(link, await link.NextAsync());
        rig.Time.Advance(StateFeed.RetryAfter);
        Assert.Equal("telemetry/gw/d1/status", (await link.NextAsync()).Topic);
    }

    [Fact]
    public async Task State_ThatTheBrokerClosesOn_IsLeftOutUntilItChanges()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Board.SetStatus(Online("d1"));
        rig.Start();
        for (int i = 0; i < Suspicion.ProofsNeeded; i++)
        {
            ScriptedLink lost = await rig.AcceptAsync(broker);
            Assert.Equal("telemetry/gw/d1/status", (await lost.NextAsync()).Topic);
            lost.Close();
        }

        // Its change was given back to the board each time; from now on only a real one brings it up again.
        ScriptedLink link = await rig.AcceptAsync(broker);
        rig.Add("pump-7");
        Assert.Equal("telemetry/gw/pump-7", (await link.NextAsync()).Topic);
        Assert.Equal(1, rig.Log.Count(ForwardEvents.StateGivenUp));
        rig.Board.SetStatus(Online("d1") with { IsOnline = false, Reason = "bye" });
        Assert.Equal("telemetry/gw/d1/status", (await link.NextAsync()).Topic);
    }

    [Fact]
    public async Task Forgotten_UnconfirmedOnTheLastLink_EmptiesBothTopicsUnlessTheDeviceIsBack()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Board.SetStatus(Online("back"));
        foreach (string device in new[] { "gone", "back" })
        {
            rig.Context.ForgottenAgain.Enqueue(new DeviceNotice(Online(device), true, true, IsForgotten: true));
        }

        ScriptedLink link = await rig.StartAsync(broker);
        List<ReceivedPublish> messages = await link.NextAsync(3);
        Assert.Equal(
            ["telemetry/gw/gone/status", "telemetry/gw/gone/meta", "telemetry/gw/back/status"], messages.Select(m => m.Topic));
        Assert.All(messages, m => Assert.True(m.IsRetained));
        Assert.Equal([true, true, false], messages.Select(m => m.Payload.Length == 0));

        // Not confirmed: told again on the next link.
        link.Close();
        link = await rig.AcceptAsync(broker);
        Assert.Equal("telemetry/gw/gone/status", (await link.NextAsync()).Topic);
    }

    private static DeviceState Online(string device) => new(device, true, "", "1.0", "10.0.0.1", 0, null);

    private static async Task<List<string>> ServeAsync(ScriptedLink link, int count)
    {
        var topics = new List<string>();
        await link.ServeAsync(m =>
        {
            topics.Add(m.Topic);
            return topics.Count == count;
        }).WaitAsync(Rig.HangGuard);
        return topics;
    }
}
