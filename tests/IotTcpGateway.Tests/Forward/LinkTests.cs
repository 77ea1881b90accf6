using IotTcpGateway.Forward;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>How the link comes about, ends, and comes about again.</summary>
public sealed class LinkTests
{
    [Fact]
    public async Task Connect_Always_AsksForACleanStartAndLeavesARetainedOfflineWill()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        ScriptedLink link = await broker.NextLinkAsync().WaitAsync(Rig.HangGuard);
        ReceivedConnect connect = await link.ReceiveConnectAsync();

        Assert.Equal(5, connect.Level);
        Assert.True(connect.IsCleanStart);
        Assert.Equal("iotgw-test", connect.ClientId);
        Assert.Equal(30, connect.KeepAliveSeconds);
        Assert.Equal(64u * 1024, connect.MaximumPacketSize);
        Assert.Equal("telemetry/gw/status", connect.WillTopic);
        Assert.Equal("""{"state":"offline","gateway":"gw","version":"1.2.3"}""", connect.WillPayload);
        Assert.True(connect.IsWillRetained);
        Assert.Equal(1, connect.WillQos);
        Assert.Null(connect.Username);

        await link.ConnAckAsync(0);
        ReceivedPublish birth = await link.NextAsync();
        Assert.Equal("telemetry/gw/status", birth.Topic);
        Assert.Equal("""{"state":"online","gateway":"gw","version":"1.2.3","since":1763900000000,"disk":"off"}""", birth.Text);
        Assert.True(birth.IsRetained);
    }

    [Fact]
    public async Task Connect_BrokerAnswersInTheOldVersion_FallsBackAtOnceAndReturnsToVersion5AfterTheLink()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        ScriptedLink link = await broker.NextLinkAsync().WaitAsync(Rig.HangGuard);
        Assert.Equal(5, (await link.ReceiveConnectAsync()).Level);
        // What a broker of MQTT 3.1.1 says to a CONNECT of MQTT 5.
        await link.SendAsync([0x20, 2, 0, 1]);
        link.Close();

        link = await broker.NextLinkAsync().WaitAsync(Rig.HangGuard);
        Assert.Equal(4, (await link.ReceiveConnectAsync()).Level);
        await link.ConnAckAsync(0);
        await link.PubAckAsync(await link.NextAsync());
        Assert.Equal("3.1.1", rig.Forwarder.Status.Version);
        link.Close();

        link = await rig.Time.AdvanceUntilAsync(broker.NextLinkAsync());
        Assert.Equal(5, (await link.ReceiveConnectAsync()).Level);
    }

    [Fact]
    public async Task Connect_ClosedWithoutAnswer_TriesTheOldVersionOnlyTheSecondTime()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        var levels = new List<byte>();
        for (int i = 0; i < 6; i++)
        {
            ScriptedLink link = await rig.Time.AdvanceUntilAsync(broker.NextLinkAsync());
            levels.Add((await link.ReceiveConnectAsync()).Level);
            link.Close();
        }

        Assert.Equal([5, 5, 4, 5, 5, 4], levels);
    }

    [Fact]
    public async Task Connect_TakenInAndThrownOutAgain_WaitsLongerEachTimeAndTellsItOnce()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        var waits = new List<double>();
        for (int i = 0; i < 9; i++)
        {
            ScriptedLink link = await rig.Time.AdvanceUntilAsync(broker.AcceptAsync());
            waits.Add(rig.Time.Slept.TotalSeconds);
            link.Close();
        }

        Assert.Equal([0, 1, 2, 4, 8, 16, 30, 30, 30], waits);
        Assert.Equal(9, broker.Connections);
        Assert.Equal(2, rig.Log.Count(ForwardEvents.Connected));
        Assert.Equal(1, rig.Log.Count(ForwardEvents.Lost));
        Assert.Equal(1, rig.Log.Count(ForwardEvents.DoesNotHold));
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.Reconnects == 8);
    }

    [Fact]
    public async Task Link_HeldForThirtySeconds_ForgetsTheFailuresBefore()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        for (int i = 0; i < 5; i++)
        {
            (await rig.Time.AdvanceUntilAsync(broker.AcceptAsync())).Close();
        }

        ScriptedLink link = await rig.AcceptAsync(broker);
        rig.Time.Advance(BrokerLink.HeldAfter);
        await Eventually.IsTrueAsync(() => rig.Log.Count(ForwardEvents.HoldsAgain) == 1);
        link.Close();

        await rig.AcceptAsync(broker);
        Assert.Equal(1, rig.Time.Slept.TotalSeconds);
    }

    [Fact]
    public async Task Link_NothingConfirmedForThirtySeconds_DoesNotCountAsHeld()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { AckTimeout = TimeSpan.FromSeconds(40) }, broker);
        rig.Start();
        ScriptedLink link = await broker.AcceptAsync().WaitAsync(Rig.HangGuard);
        await link.NextAsync();
        rig.Time.Advance(TimeSpan.FromSeconds(40));
        await link.EndAsync();
        link = await rig.Time.AdvanceUntilAsync(broker.AcceptAsync());
        await link.NextAsync();
        link.Close();

        await rig.Time.AdvanceUntilAsync(broker.AcceptAsync());
        Assert.Equal(2, rig.Time.Slept.TotalSeconds);
    }

    [Fact]
    public async Task Connect_Unwelcome_WaitsLongAndSaysSoLoudly()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        ScriptedLink link = await broker.NextLinkAsync().WaitAsync(Rig.HangGuard);
        await link.ReceiveConnectAsync();
        await link.ConnAckAsync(0x87, new ConnAckTerms(ReasonString: "who are\nyou"));

        link = await rig.Time.AdvanceUntilAsync(broker.NextLinkAsync());
        Assert.Equal(120, rig.Time.Slept.TotalSeconds);
        Assert.Equal("CONNACK 0x87 NotAuthorized who are\\u000Ayou", rig.Forwarder.Status.LastFailure);
        Assert.Equal(1, rig.Log.Count(ForwardEvents.Unwelcome));
        await link.ReceiveConnectAsync();
        await link.ConnAckAsync(0x87, new ConnAckTerms(ReasonString: "who are\nyou"));

        await rig.Time.AdvanceUntilAsync(broker.NextLinkAsync());
        Assert.Equal(1, rig.Log.Count(ForwardEvents.Unwelcome));
        Assert.Equal(1, rig.Log.Count(ForwardEvents.Unreachable));
    }

    [Fact]
    public async Task Link_TakenOverWithMessagesInFlight_WaitsLongAndKeepsThem()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Add("pump-7");
        await link.NextAsync();
        await link.DisconnectAsync(0x8E, "elsewhere");

        link = await rig.AcceptAsync(broker);
        Assert.Equal(120, rig.Time.Slept.TotalSeconds);
        Assert.Equal("DISCONNECT 0x8E elsewhere", rig.Forwarder.Status.LastFailure);
        Assert.Equal(1, rig.Log.Count(ForwardEvents.Unwelcome));
        Assert.Equal(1u, (await link.NextAsync()).Sequence());
    }

    [Fact]
    public async Task Connect_NoAnswerToConnect_EndsAfterTheLimitAndSaysWhy()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        ScriptedLink link = await broker.NextLinkAsync().WaitAsync(Rig.HangGuard);
        await link.ReceiveConnectAsync();
        rig.Time.Advance(TimeSpan.FromSeconds(10));
        await link.EndAsync();

        link = await rig.Time.AdvanceUntilAsync(broker.NextLinkAsync());
        Assert.Equal("no answer within 10 s", rig.Forwarder.Status.LastFailure);
        Assert.Equal(5, (await link.ReceiveConnectAsync()).Level);
    }

    [Fact]
    public async Task Connect_BrokerTakesQos0Only_IsUnwelcomeBecauseNothingWouldBeConfirmed()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        ScriptedLink link = await broker.AcceptAsync(new ConnAckTerms(MaximumQos: 0)).WaitAsync(Rig.HangGuard);
        await link.EndAsync();
        await Eventually.IsTrueAsync(() => rig.Log.Count(ForwardEvents.Unwelcome) == 1);
    }

    [Fact]
    public async Task Connect_PasswordFileMissing_SaysSoAndReadsItAtTheNextAttempt()
    {
        string file = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { Username = "u", PasswordFile = file }, broker);
        rig.Start();
        await Eventually.IsTrueAsync(() => rig.Log.Count(ForwardEvents.Unreachable) == 1);
        Assert.Contains($"mqtt.passwordFile {file}", rig.Forwarder.Status.LastFailure, StringComparison.Ordinal);
        try
        {
            await File.WriteAllTextAsync(file, "säcret\n");
            ScriptedLink link = await rig.Time.AdvanceUntilAsync(broker.NextLinkAsync());
            ReceivedConnect connect = await link.ReceiveConnectAsync();
            Assert.Equal("u", connect.Username);
            Assert.Equal("säcret", connect.Password);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public async Task Brokers_FirstOneAway_UsesTheSecondAndReturnsAfterThreeGoodProbesInARow()
    {
        await using var second = new ScriptedBroker();
        int port;
        await using (var probe = new ScriptedBroker())
        {
            port = probe.Port;
        }

        var options = new MqttOptions
        {
            Brokers = [$"mqtt://127.0.0.1:{port}", second.Uri],
            KeepAlive = TimeSpan.FromHours(1),
        };
        await using var rig = new Rig(options);
        rig.Start();
        ScriptedLink link = await rig.AcceptAsync(second);
        Assert.Equal(second.Uri, rig.Forwarder.Status.Broker);
        await rig.Time.DeadlineBeginsAsync(PreferredBroker.ProbeInterval);
        rig.Time.Advance(PreferredBroker.ProbeInterval);
        await rig.Time.DeadlineBeginsAsync(PreferredBroker.ProbeInterval);

        await using var first = new ScriptedBroker(port: port);
        Task<ScriptedLink> back = ReturnAsync(first);
        for (int i = 1; i <= PreferredBroker.GoodProbesNeeded; i++)
        {
            if (i > 1)
                await rig.Time.DeadlineBeginsAsync(PreferredBroker.ProbeInterval);
            Assert.True(rig.Forwarder.Status.IsConnected);
            int probes = i - 1;
            await Eventually.IsTrueAsync(() => first.Connections == probes);
            rig.Time.Advance(PreferredBroker.ProbeInterval);
        }

        link = await back.WaitAsync(Rig.HangGuard);
        Assert.Equal(first.Uri, rig.Forwarder.Status.Broker);
        Assert.Equal(1, second.Connections);
    }

    // Probes say nothing and close; the link itself says CONNECT.
    private static async Task<ScriptedLink> ReturnAsync(ScriptedBroker broker)
    {
        while (true)
        {
            ScriptedLink link = await broker.NextLinkAsync();
            try
            {
                await link.ReceiveConnectAsync();
                await link.ConnAckAsync(0);
                return link;
            }
            catch (EndOfStreamException)
            {
                link.Close();
            }
        }
    }

    [Fact]
    public async Task StopAsync_WhileTheBrokerIsSilentToConnect_DoesNotHang()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        ScriptedLink link = await broker.NextLinkAsync().WaitAsync(Rig.HangGuard);
        await link.ReceiveConnectAsync();
        await rig.StopAsync();
        Assert.True(rig.Forwarder.Completion.IsCompletedSuccessfully);
    }

    [Fact]
    public async Task StopAsync_WithoutABroker_EndsInTheMiddleOfTheBackOff()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        (await broker.AcceptAsync().WaitAsync(Rig.HangGuard)).Close();
        await Eventually.IsTrueAsync(() => rig.Log.Count(ForwardEvents.Lost) == 1);
        await rig.StopAsync();
        Assert.True(rig.Forwarder.Completion.IsCompletedSuccessfully);
    }

    [Fact]
    public async Task IsTurningOver_WhileConnectedWaitingAndRefused_StaysTrue()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        for (int i = 0; i < 10; i++)
        {
            long turned = rig.Forwarder.Status.Published;
            rig.Time.Advance(TimeSpan.FromSeconds(2));
            rig.Add("pump-7");
            await link.PubAckAsync(await link.NextAsync());
            await Eventually.IsTrueAsync(() => rig.Forwarder.Status.Published > turned);
            Assert.True(rig.Forwarder.IsTurningOver);
        }
    }
}
