using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Forward;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>What is in flight, for how long, and what becomes of it when the link goes.</summary>
public sealed class WindowTests
{
    private static readonly TimeSpan AckTimeout = new MqttOptions().AckTimeout;

    [Fact]
    public async Task Window_ReceiveMaximumOfTheBroker_IsNeverExceeded()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        AddMany(rig, 20);
        ScriptedLink link = await rig.StartAsync(broker, new ConnAckTerms(ReceiveMaximum: 3));

        List<ReceivedPublish> first = await link.NextAsync(3);
        Assert.Equal(3, rig.Forwarder.Status.InFlight);
        // A window that is kept shows in what comes after each confirmation: one more, and no two.
        for (uint next = 4; next <= 20; next++)
        {
            await link.PubAckAsync(first[(int)next - 4]);
            first.Add(await link.NextAsync());
            Assert.Equal(next, first[^1].Sequence());
            Assert.Equal(3, rig.Forwarder.Status.InFlight);
        }
    }

    [Fact]
    public async Task Window_InFlightMemory_BoundsSmallMessagesToo()
    {
        var options = new MqttOptions { InFlightMemory = 5 * Publication.OverheadBytes };
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(options, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        AddMany(rig, 20);

        // Each takes its overhead and its payload: the fifth begins below the limit, the sixth would not.
        await link.NextAsync(5);
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.InFlight == 5);
        rig.Add("other");
        Assert.Equal(5, rig.Forwarder.Status.InFlight);
    }

    [Fact]
    public async Task Window_MessageLargerThanInFlightMemory_GoesAlone()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { InFlightMemory = 1 }, broker);
        AddMany(rig, 3);
        ScriptedLink link = await rig.StartAsync(broker);
        for (uint sequence = 1; sequence <= 3; sequence++)
        {
            ReceivedPublish message = await link.NextAsync();
            Assert.Equal(sequence, message.Sequence());
            Assert.Equal(1, rig.Forwarder.Status.InFlight);
            await link.PubAckAsync(message);
        }
    }

    [Fact]
    public async Task LinkLost_InMidFlight_SendsTheUnconfirmedAgainInOrderAndTheConfirmedNot()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        AddMany(rig, 10);
        ScriptedLink link = await rig.StartAsync(broker);
        List<ReceivedPublish> messages = await link.NextAsync(10);
        // PUBACKs may come in any order.
        await link.ConfirmAsync([messages[7], messages[1], messages[4]]);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 7);
        link.Abort();

        link = await rig.AcceptAsync(broker);
        messages = await link.NextAsync(7);
        Assert.Equal([1u, 3u, 4u, 6u, 7u, 9u, 10u], messages.Select(m => m.Sequence()));
        await link.ConfirmAsync(messages);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
    }

    [Fact]
    public async Task LinkLost_RightBehindPubAcks_CountsThem()
    {
        // Bug: PUBACKs that were read but not yet looked at when the link went were forgotten, and their messages sent
        // again.
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        AddMany(rig, 200);
        ScriptedLink link = await rig.StartAsync(broker);
        List<ReceivedPublish> messages = await link.NextAsync(200);
        await link.SendAsync([.. messages.SelectMany(m => new byte[] { 0x40, 2, (byte)(m.Id >> 8), (byte)m.Id })]);
        link.Close();

        await rig.AcceptAsync(broker);
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public async Task PubAck_NeverComes_DropsTheLinkAfterTheTimeoutAndNeverCostsARecord()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Add("pump-7");
        rig.Start();
        for (int i = 0; i < 8; i++)
        {
            ScriptedLink silent = await rig.AcceptAsync(broker);
            Assert.Equal(1u, (await silent.NextAsync()).Sequence());
            rig.Time.Advance(AckTimeout);
            await silent.EndAsync();
            await Eventually.IsTrueAsync(() => rig.Forwarder.Status.LastFailure == "no PUBACK for 20 s");
        }

        ScriptedLink link = await rig.AcceptAsync(broker);
        await link.PubAckAsync(await link.NextAsync());
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
        Assert.Equal(0, rig.Buffer.DroppedRecords);
    }

    [Fact]
    public async Task PubAck_OneMessageNeverWhileOthersAre_DropsTheLinkAfterTheTimeout()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Add("pump-7");
        ScriptedLink link = await rig.StartAsync(broker);
        await link.NextAsync();
        for (int i = 0; i < 4; i++)
        {
            rig.Add("pump-7");
            await link.PubAckAsync(await link.NextAsync());
            long left = 1;
            await Eventually.IsTrueAsync(() => rig.Buffer.Records == left);
            rig.Time.Advance(AckTimeout / 4);
        }

        await link.EndAsync();
        link = await rig.AcceptAsync(broker);
        Assert.Equal(1u, (await link.NextAsync()).Sequence());
    }

    [Fact]
    public async Task PubAck_SlowButSteady_KeepsTheLinkHoweverLongTheQueueIs()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { KeepAlive = TimeSpan.FromHours(1) }, broker);
        AddMany(rig, 10);
        ScriptedLink link = await rig.StartAsync(broker);
        List<ReceivedPublish> messages = await link.NextAsync(10);
        for (int i = 0; i < 10; i++)
        {
            rig.Time.Advance(AckTimeout - TimeSpan.FromSeconds(1));
            await link.PubAckAsync(messages[i]);
            await Eventually.IsTrueAsync(() => rig.Buffer.Records == 9 - i);
        }

        Assert.Equal(1, broker.Connections);
    }

    [Fact]
    public async Task Ping_WhilePublishing_GoesOutAtHalfTheKeepAliveOfTheBroker()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker, new ConnAckTerms(ServerKeepAlive: 4));
        for (int i = 1; i <= 5; i++)
        {
            rig.Add("pump-7");
            await link.PubAckAsync(await link.NextAsync());
            await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
            rig.Time.Advance(TimeSpan.FromSeconds(2));
            rig.Add("pump-7");
            await link.PubAckAsync(await link.NextAsync());
            Assert.InRange(link.Pings, i - 1, i);
        }

        Assert.True(link.Pings >= 4);
    }

    [Fact]
    public async Task Ping_NotAnswered_DropsTheIdleLink()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        link.AnswersPings = false;
        Task end = link.EndAsync();
        rig.Time.Advance(TimeSpan.FromSeconds(15));
        await Eventually.IsTrueAsync(() => link.Pings == 1);
        rig.Time.Advance(AckTimeout);
        await end;
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.LastFailure == "no PINGRESP for 20 s");
    }

    [Fact]
    public async Task Link_ThatTakesBytesAndBringsNone_IsNoticedWhilePublishing()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { InFlight = 10_000, InFlightMemory = 64 * 1024 * 1024 }, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        // The broker's host is gone: nothing is read any more, until even the sockets' buffers are full.
        AddMany(rig, 5_000);
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.InFlight >= 5_000);
        rig.Time.Advance(AckTimeout);
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.LastFailure == "no PUBACK for 20 s");

        link = await rig.AcceptAsync(broker);
        Assert.Equal(1u, (await link.NextAsync()).Sequence());
        Assert.Equal(5_000, rig.Buffer.Records);
    }

    [Fact]
    public async Task Inbound_HugePacketAnnounced_EndsTheLinkBeforeItIsAllocated()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        const long Announced = 268_435_455;
        long before = GC.GetTotalAllocatedBytes(precise: true);
        await link.SendAsync([0x30, 0xFF, 0xFF, 0xFF, 0x7F]);
        await link.EndAsync();
        await Eventually.IsTrueAsync(
            () => rig.Forwarder.Status.LastFailure == "the broker announced a packet of over 65536 bytes");
        // Other tests allocate meanwhile, but not that much.
        Assert.InRange(GC.GetTotalAllocatedBytes(precise: true) - before, 0, Announced);
    }

    [Fact]
    public async Task Qos0_BrokerThatReadsNothing_HoldsTheGatewayBackInsteadOfFillingItsMemory()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { Qos = 0, Payload = "raw" }, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        DeviceStream stream = rig.Buffer.Open("pump-7", 7);
        byte[] body = new byte[60_000];
        uint sequence = 0;
        // As much as the sockets take and the link's own block; then it must stop.
        while (rig.Forwarder.Status.InFlight < 2)
        {
            while (rig.Buffer.MemoryBytes < rig.Buffer.MemoryBytesMax / 2)
                rig.Buffer.TryAdd(stream, ++sequence, ChannelTable.Empty, rig.Clock.Arrival(), body);
            await Task.Yield();
        }

        long left = rig.Buffer.Records;
        Assert.True(left > 0);
        _ = link.ServeAsync(_ => false);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
    }

    [Fact]
    public async Task Qos0_Record_IsDoneWhenItIsWritten()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(new MqttOptions { Qos = 0 }, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Add("pump-7");
        Assert.Equal(0, (await link.NextAsync()).Qos);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
    }

    [Fact]
    public async Task Raw_Payload_IsTheBodyWithBootAndSequenceAsUserProperties()
    {
        var options = new MqttOptions { Payload = "raw", Batch = new BatchOptions { Messages = 100 } };
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(options, broker);
        DeviceStream stream = rig.Buffer.Open("pump-7", uint.MaxValue);
        byte[] body = Encoding.ASCII.GetBytes("any bytes, as they came");
        rig.Buffer.TryAdd(stream, 12, ChannelTable.Empty, rig.Clock.Arrival(), body);
        rig.Buffer.TryAdd(stream, 13, ChannelTable.Empty, rig.Clock.Arrival(), body);
        ScriptedLink link = await rig.StartAsync(broker);

        // A batch has no form in raw bytes: each goes by itself, whatever is configured.
        ReceivedPublish message = await link.NextAsync();
        Assert.Equal(body, message.Payload);
        Assert.Equal(["boot=4294967295", "seq=12"], message.UserProperties);
        Assert.Equal(["boot=4294967295", "seq=13"], (await link.NextAsync()).UserProperties);
    }

    [Fact]
    public async Task Reconnecting_ManyTimes_LeavesNothingBehind()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Start();
        var clients = new List<WeakReference>();
        for (int i = 0; i < 20; i++)
        {
            ScriptedLink link = await rig.AcceptAsync(broker);
            clients.Add(new WeakReference(SessionOf(rig)));
            link.Close();
        }

        await rig.AcceptAsync(broker);
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        // The last ones may still hang on a stack or in a state machine.
        Assert.All(clients[..17], c => Assert.False(c.IsAlive));
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static object? SessionOf(Rig rig) => typeof(Forwarder)
        .GetField("session", System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Instance)!
        .GetValue(rig.Forwarder);

    private static void AddMany(Rig rig, int count)
    {
        for (int i = 0; i < count; i++)
        {
            rig.Add("pump-7", i);
        }
    }
}
