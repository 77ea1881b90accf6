using IotTcpGateway.Buffer;
using IotTcpGateway.Forward;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>Messages that the broker refuses, or dies of.</summary>
public sealed class RefusalTests
{
    [Theory]
    [InlineData(0x90)]
    [InlineData(0x99)]
    public async Task Refused_ForGood_IsGivenUpAloneAndBlocksNobody(byte code)
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        for (int i = 0; i < 3; i++)
        {
            rig.Add("pump-7");
        }

        List<ReceivedPublish> messages = await link.NextAsync(3);
        await link.PubAckAsync(messages[0]);
        await link.PubAckAsync(messages[1], code);
        await link.PubAckAsync(messages[2]);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
        Assert.Equal(1, rig.Buffer.DroppedRecords);
        Assert.Equal(1, rig.Log.Count(ForwardEvents.MessageRefused));
    }

    [Theory]
    [InlineData(0x80)]
    [InlineData(0x83)]
    [InlineData(0x87)]
    [InlineData(0x97)]
    public async Task Refused_ForNow_OnlyItsDeviceWaitsAndTriesItsOldestWithBackOff(byte code)
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { KeepAlive = TimeSpan.FromHours(1) }, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        for (int i = 0; i < 3; i++)
        {
            rig.Add("pump-7");
        }

        foreach (ReceivedPublish message in await link.NextAsync(3))
        {
            await link.PubAckAsync(message, code);
        }

        await Eventually.IsTrueAsync(() => rig.Forwarder.Status is { DevicesWaiting: 1, InFlight: 0 });
        rig.Add("pump-7");
        foreach (int seconds in new[] { 1, 2, 4, 8, 16, 32, 60, 60 })
        {
            // Others go on meanwhile.
            rig.Add("valve-3");
            ReceivedPublish other = await link.NextAsync();
            Assert.Equal("telemetry/gw/valve-3", other.Topic);
            await rig.AnswerAsync(link, other);

            rig.Time.Advance(TimeSpan.FromSeconds(seconds) - TimeSpan.FromMilliseconds(1));
            rig.Add("valve-3");
            other = await link.NextAsync();
            Assert.Equal("telemetry/gw/valve-3", other.Topic);
            await rig.AnswerAsync(link, other);
            rig.Time.Advance(TimeSpan.FromMilliseconds(1));
            ReceivedPublish again = await link.NextAsync();
            Assert.Equal(("telemetry/gw/pump-7", 1u), (again.Topic, again.Sequence()));
            await rig.AnswerAsync(link, again, code);
        }

        rig.Time.Advance(TimeSpan.FromSeconds(60));
        await link.PubAckAsync(await link.NextAsync());
        List<ReceivedPublish> rest = await link.NextAsync(3);
        Assert.Equal([2u, 3u, 4u], rest.Select(m => m.Sequence()));
        await link.ConfirmAsync(rest);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
        Assert.Equal(0, rig.Buffer.DroppedRecords);
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.DevicesWaiting == 0);
    }

    [Fact]
    public async Task Refused_ForNowWhileOthersOfTheDeviceAreConfirmed_StillWaits()
    {
        // Bug: any confirmation of the device freed its line, and what the broker refuses was sent to it without a
        // pause.
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Add("pump-7");
        rig.Add("pump-7");
        List<ReceivedPublish> messages = await link.NextAsync(2);
        await link.PubAckAsync(messages[0], 0x87);
        await link.PubAckAsync(messages[1]);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 1);

        rig.Add("valve-3");
        Assert.Equal("telemetry/gw/valve-3", (await link.NextAsync()).Topic);
        rig.Time.Advance(DeviceLines.RetryFirst);
        Assert.Equal("telemetry/gw/pump-7", (await link.NextAsync()).Topic);
    }

    [Fact]
    public async Task TooLargeForTheBroker_IsGivenUpWithoutBeingSent()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { Payload = "raw" }, broker);
        DeviceStream stream = rig.Buffer.Open("pump-7", 7);
        rig.Buffer.TryAdd(stream, 1, ChannelTable.Empty, rig.Clock.Arrival(), new byte[1000]);
        rig.Buffer.TryAdd(stream, 2, ChannelTable.Empty, rig.Clock.Arrival(), new byte[100]);
        ScriptedLink link = await rig.StartAsync(broker, new ConnAckTerms(MaximumPacketSize: 500));
        Assert.Equal(100, (await link.NextAsync()).Payload.Length);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 1);
        Assert.Equal(1, rig.Buffer.DroppedRecords);
    }

    [Fact]
    public async Task Poison_BrokerClosesEachTimeItGetsTheRecord_IsGivenUpAfterThreeProofsAndTheRestGoes()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        for (int i = 0; i < 10; i++)
        {
            rig.Add("pump-7");
        }

        const uint Poison = 4;
        rig.Start();
        int deaths = 0;
        var confirmed = new HashSet<uint>();
        while (confirmed.Count < 9)
        {
            ScriptedLink link = await rig.AcceptAsync(broker);
            while (confirmed.Count < 9)
            {
                ReceivedPublish message = await link.NextAsync();
                if (message.Sequence() == Poison)
                {
                    deaths++;
                    link.Close();
                    break;
                }

                Assert.True(confirmed.Add(message.Sequence()));
                await link.PubAckAsync(message);
            }
        }

        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
        Assert.Equal(1, rig.Buffer.DroppedRecords);
        Assert.DoesNotContain(Poison, confirmed);
        // Two to suspect it, three to prove it.
        Assert.Equal(Suspicion.LossesBeforeProbing + Suspicion.ProofsNeeded, deaths);
        Assert.Equal(1, rig.Log.Count(ForwardEvents.PoisonGivenUp));
    }

    [Fact]
    public async Task Poison_WhileNewRecordsAreConfirmedAroundIt_IsFoundAllTheSame()
    {
        // Bug: the gateway's own status counted as a confirmation, so a link was never seen as fruitless; and a broker
        // that confirms what came behind the poison would have hidden it for ever.
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Add("poison");
        for (int i = 0; i < 3; i++)
        {
            rig.Add("pump-7");
        }

        rig.Start();
        for (int left = 3; left > 1; left--)
        {
            ScriptedLink link = await rig.AcceptAsync(broker);
            List<ReceivedPublish> messages = await link.NextAsync(left + 1);
            Assert.Equal("telemetry/gw/poison", messages[0].Topic);
            await link.PubAckAsync(messages[^1]);
            await Eventually.IsTrueAsync(() => rig.Buffer.Records == left);
            link.Close();
        }

        for (int i = 0; i < Suspicion.ProofsNeeded; i++)
        {
            ScriptedLink link = await rig.AcceptAsync(broker);
            Assert.Equal("telemetry/gw/poison", (await link.NextAsync()).Topic);
            Assert.Equal(1, rig.Forwarder.Status.InFlight);
            link.Close();
        }

        ScriptedLink last = await rig.AcceptAsync(broker);
        ReceivedPublish rest = await last.NextAsync();
        Assert.Equal(("telemetry/gw/pump-7", 1u), (rest.Topic, rest.Sequence()));
        Assert.Equal((1, 1), (rig.Buffer.Records, rig.Buffer.DroppedRecords));
    }

    [Fact]
    public async Task Probing_SuspectIsConfirmed_WidensTheWindowOnTheSameLink()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        for (int i = 0; i < 20; i++)
        {
            rig.Add("pump-7");
        }

        rig.Start();
        for (int i = 0; i < Suspicion.LossesBeforeProbing; i++)
        {
            ScriptedLink lost = await rig.AcceptAsync(broker);
            await lost.NextAsync(20);
            lost.Close();
        }

        ScriptedLink link = await rig.AcceptAsync(broker);
        ReceivedPublish suspect = await link.NextAsync();
        Assert.Equal(1, rig.Forwarder.Status.InFlight);
        await link.PubAckAsync(suspect);
        await link.NextAsync(19);
        Assert.Equal(19, rig.Forwarder.Status.InFlight);
    }

    [Fact]
    public async Task CrashingBroker_ThatConfirmsNothing_NeverCostsARecord()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Add("pump-7");
        rig.Start();
        for (int i = 0; i < 12; i++)
        {
            ScriptedLink lost = await rig.Time.AdvanceUntilAsync(broker.AcceptAsync());
            await lost.NextAsync();
            lost.Close();
        }

        Assert.Equal((1, 0), (rig.Buffer.Records, rig.Buffer.DroppedRecords));
        ScriptedLink link = await rig.AcceptAsync(broker);
        await link.PubAckAsync(await link.NextAsync());
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
        Assert.Equal(0, rig.Buffer.DroppedRecords);
    }

    [Theory]
    [InlineData(0x89)]
    [InlineData(0x8B)]
    [InlineData(0x8E)]
    [InlineData(0x97)]
    public async Task LeavingBroker_ThatSaysWhy_NeverCostsARecord(byte reason)
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Add("pump-7");
        rig.Start();
        for (int i = 0; i < 8; i++)
        {
            ScriptedLink lost = await rig.AcceptAsync(broker);
            await lost.NextAsync();
            await lost.DisconnectAsync(reason);
        }

        await rig.AcceptAsync(broker);
        Assert.Equal((1, 0), (rig.Buffer.Records, rig.Buffer.DroppedRecords));
    }

    [Fact]
    public async Task Subscription_ThatTheBrokerClosesOn_IsLeftOutAfterThreeProofs()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        for (int i = 0; i < Suspicion.ProofsNeeded; i++)
        {
            ScriptedLink lost = await rig.AcceptAsync(broker);
            lost.ClosesOnSubscribe = true;
            await lost.EndAsync();
        }

        ScriptedLink link = await rig.AcceptAsync(broker);
        link.ClosesOnSubscribe = true;
        rig.Add("pump-7");
        await link.PubAckAsync(await link.NextAsync());
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
        Assert.Equal(1, rig.Log.Count(ForwardEvents.SubscriptionGivenUp));
    }

    [Fact]
    public async Task Subscription_NotAnsweredOrRefused_KeepsTheLink()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { KeepAlive = TimeSpan.FromHours(1) }, broker);
        rig.Start();
        ScriptedLink link = await broker.AcceptAsync().WaitAsync(Rig.HangGuard);
        link.SubAckCode = null;
        await link.PubAckAsync(await link.NextAsync());
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.Published == 1);
        for (int i = 0; i < 10; i++)
        {
            rig.Time.Advance(TimeSpan.FromSeconds(20));
            rig.Add("pump-7");
            await link.PubAckAsync(await link.NextAsync());
            await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
        }

        Assert.Equal(1, broker.Connections);
    }

    [Fact]
    public async Task Subscription_BrokerTakesNoWildcards_IsLeftOut()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker, new ConnAckTerms(WildcardSubscriptions: false));
        rig.Add("pump-7");
        await link.NextAsync();
        Assert.Empty(link.Filters);
        Assert.Equal(1, rig.Log.Count(ForwardEvents.NoCommands));
    }
}
