using System.Text.Json;

using IotTcpGateway.Forward;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>Messages of one topic gathered into JSON arrays.</summary>
public sealed class BatchTests
{
    [Fact]
    public async Task Batch_Full_IsAnArrayOfItsMessagesInOrderAndConfirmsThemAll()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(Options(messages: 10), broker);
        Add(rig, "pump-7", 25);
        ScriptedLink link = await rig.StartAsync(broker);
        List<ReceivedPublish> messages = await link.NextAsync(3);
        Assert.Equal([10, 10, 5], messages.Select(m => Sequences(m).Count));
        Assert.Equal(Enumerable.Range(1, 25).Select(i => (uint)i), messages.SelectMany(Sequences));
        await link.ConfirmAsync(messages);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
    }

    [Theory]
    [InlineData(0x90)]
    [InlineData(0x99)]
    public async Task Batch_RefusedForGood_IsSentAgainMessageByMessage(byte code)
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(Options(messages: 10), broker);
        Add(rig, "pump-7", 10);
        ScriptedLink link = await rig.StartAsync(broker);
        await link.PubAckAsync(await link.NextAsync(), code);
        List<ReceivedPublish> single = await link.NextAsync(10);
        Assert.Equal(Enumerable.Range(1, 10).Select(i => (uint)i), single.Select(m => m.Sequence()));
        for (int i = 0; i < 10; i++)
        {
            await link.PubAckAsync(single[i], i == 3 ? code : (byte)0);
        }

        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
        Assert.Equal(1, rig.Buffer.DroppedRecords);
    }

    [Fact]
    public async Task Batch_RefusedForNow_TriesItsOldestAloneAndThenTheRest()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(Options(messages: 10), broker);
        Add(rig, "pump-7", 10);
        ScriptedLink link = await rig.StartAsync(broker);
        await link.PubAckAsync(await link.NextAsync(), 0x97);
        await Eventually.IsTrueAsync(() => rig.Forwarder.Status.DevicesWaiting == 1);
        rig.Time.Advance(DeviceLines.RetryFirst);
        ReceivedPublish oldest = await link.NextAsync();
        Assert.Equal(1u, oldest.Sequence());
        await link.PubAckAsync(oldest);
        ReceivedPublish rest = await link.NextAsync();
        Assert.Equal(Enumerable.Range(2, 9).Select(i => (uint)i), Sequences(rest));
        await link.PubAckAsync(rest);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
    }

    [Fact]
    public async Task Batch_BeyondTheBrokersPacketSize_IsSplitBeforeItIsSent()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(Options(messages: 100), broker);
        Add(rig, "pump-7", 50);
        ScriptedLink link = await rig.StartAsync(broker, new ConnAckTerms(MaximumPacketSize: 600));
        var sequences = new List<uint>();
        while (sequences.Count < 50)
        {
            ReceivedPublish message = await link.NextAsync();
            Assert.InRange(message.Payload.Length + message.Topic.Length, 1, 590);
            sequences.AddRange(Sequences(message));
            await link.PubAckAsync(message);
        }

        Assert.Equal(Enumerable.Range(1, 50).Select(i => (uint)i), sequences);
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
        Assert.Equal(0, rig.Buffer.DroppedRecords);
    }

    [Fact]
    public async Task Batch_WithLinger_WaitsToBecomeFullButNoLonger()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(Options(messages: 3, linger: TimeSpan.FromMilliseconds(500)), broker);
        ScriptedLink link = await rig.StartAsync(broker);
        Add(rig, "pump-7", 3);
        ReceivedPublish full = await link.NextAsync();
        Assert.Equal(3, Sequences(full).Count);
        await link.PubAckAsync(full);
        await Eventually.IsTrueAsync(
            () => rig.Forwarder.Status.Published == 2 && rig.Gauge("iotgw_mqtt_in_flight_bytes") == 0);

        Add(rig, "valve-3", 2);
        Task<ReceivedPublish> rest = link.NextAsync();
        await HeldAsync(rig, Publication.OverheadBytes + 150);
        rig.Time.Advance(TimeSpan.FromMilliseconds(499));
        Assert.False(rest.IsCompleted);
        rig.Time.Advance(TimeSpan.FromMilliseconds(1));
        Assert.Equal(2, Sequences(await rest).Count);
    }

    [Fact]
    public async Task Batch_WhileTheWindowIsFull_GrowsUntilItIsFullToo()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(Options(messages: 10), broker);
        ScriptedLink link = await rig.StartAsync(broker, new ConnAckTerms(ReceiveMaximum: 1));
        Add(rig, "pump-7", 1);
        ReceivedPublish first = await link.NextAsync();
        Add(rig, "pump-7", 8);
        await HeldAsync(rig, (2 * Publication.OverheadBytes) + (9 * 75));
        await link.PubAckAsync(first);
        Assert.Equal(Enumerable.Range(2, 8).Select(i => (uint)i), Sequences(await link.NextAsync()));
    }

    [Fact]
    public async Task Batch_OfManyTopics_IsBoundedInBytesWhileItLingers()
    {
        MqttOptions options = Options(messages: 100, linger: TimeSpan.FromHours(1));
        options.InFlightMemory = 8 * Publication.OverheadBytes;
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(options, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        for (int i = 0; i < 40; i++)
        {
            rig.Add($"d{i}");
        }

        // Memory for eight: instead of waiting an hour for more of the same topic, they go.
        List<ReceivedPublish> messages = await link.NextAsync(8);
        Assert.All(messages, m => Assert.Single(Sequences(m)));
        Assert.InRange(rig.Forwarder.Status.InFlight, 1, 8);
    }

    private static Task HeldAsync(Rig rig, int bytes) =>
        Eventually.IsTrueAsync(() => rig.Gauge("iotgw_mqtt_in_flight_bytes") >= bytes);

    private static MqttOptions Options(int messages, TimeSpan linger = default) =>
        new() { Batch = new BatchOptions { Messages = messages, Linger = linger } };

    private static void Add(Rig rig, string device, int count)
    {
        for (int i = 0; i < count; i++)
        {
            rig.Add(device, i);
        }
    }

    private static List<uint> Sequences(ReceivedPublish message)
    {
        using JsonDocument array = JsonDocument.Parse(message.Payload);
        return [.. array.RootElement.EnumerateArray().Select(m => m.GetProperty("seq").GetUInt32())];
    }
}
