using System.Text;

using IotTcpGateway.Commands;
using IotTcpGateway.Forward;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>Commands from the broker, and the way of their answers.</summary>
public sealed class CommandTests
{
    [Fact]
    public async Task Command_ForADevice_ReachesItAndItsResultGoesToTheResultTopic()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        var device = new Receiver();
        rig.Commands.Attach("pump-7", device);
        ScriptedLink link = await rig.StartAsync(broker);
        await ReadyAsync(rig, link);
        Assert.Equal(["telemetry/gw/+/command/#"], link.Filters);

        await link.PublishAsync("telemetry/gw/pump-7/command/set/speed", [1, 2, 0xFF], qos: 1);
        CommandRequest request = await device.NextAsync();
        Assert.Equal(("pump-7", "set/speed"), (request.DeviceId, request.Name));
        Assert.Equal([1, 2, 0xFF], request.Payload);

        rig.Commands.Answer(new CommandAnswer(request, 0, Encoding.UTF8.GetBytes("ok"), null));
        ReceivedPublish result = await link.NextAsync();
        Assert.Equal("telemetry/gw/pump-7/result/set/speed", result.Topic);
        Assert.Equal("""{"status":0,"payload":"ok"}""", result.Text);
        Assert.False(result.IsRetained);
        Assert.Null(result.CorrelationData);
        rig.Commands.Answer(new CommandAnswer(request, 3, [0xC3, 0x28], null));
        Assert.Equal("""{"status":3,"base64":"wyg="}""", (await link.NextAsync()).Text);
        while (link.PubAcks == 0)
        {
            // It is confirmed to the broker whenever the client comes to it.
            rig.Add("valve-3");
            await link.NextAsync();
        }
    }

    [Fact]
    public async Task Command_WithResponseTopic_IsAnsweredThereAlsoWhenRefused()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        await ReadyAsync(rig, link);
        await link.PublishAsync("telemetry/gw/nobody/command/x", [], responseTopic: "reply/1", correlation: [9, 8, 7]);
        ReceivedPublish result = await link.NextAsync();
        Assert.Equal("reply/1", result.Topic);
        Assert.Equal([9, 8, 7], result.CorrelationData);
        Assert.Equal("""{"error":"the device is not connected"}""", result.Text);
    }

    [Theory]
    [InlineData("reply/#")]
    [InlineData("reply/+/x")]
    public async Task Command_WithAResponseTopicNobodyCanPublishTo_IsAnsweredOnTheResultTopic(string responseTopic)
    {
        // Bug: the MQTT client threw on such a topic, and the link was dropped: one command was enough to take the
        // gateway off.
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        await ReadyAsync(rig, link);
        await link.PublishAsync("telemetry/gw/nobody/command/x", [], responseTopic: responseTopic);
        Assert.Equal("telemetry/gw/nobody/result/x", (await link.NextAsync()).Topic);
        Assert.Equal(1, broker.Connections);
    }

    [Fact]
    public async Task Command_RetainedOrNoneAtAll_IsIgnored()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        var device = new Receiver();
        rig.Commands.Attach("pump-7", device);
        ScriptedLink link = await rig.StartAsync(broker);
        await ReadyAsync(rig, link);
        await link.PublishAsync("telemetry/gw/pump-7/command/old", [], isRetained: true);
        await link.PublishAsync("telemetry/other/pump-7/command/old", []);
        await link.PublishAsync("telemetry/gw/pump-7/command/", []);
        await link.PublishAsync("telemetry/gw/pump-7/command/new", []);
        Assert.Equal("new", (await device.NextAsync()).Name);
    }

    [Fact]
    public async Task Command_NameOver255Bytes_IsRefused()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        rig.Commands.Attach("pump-7", new Receiver());
        ScriptedLink link = await rig.StartAsync(broker);
        await ReadyAsync(rig, link);
        await link.PublishAsync("telemetry/gw/pump-7/command/" + new string('n', 256), []);
        Assert.Equal("""{"error":"the name is over 255 bytes"}""", (await link.NextAsync()).Text);
    }

    [Theory]
    [InlineData("telemetry/gw/+/command/x")]
    [InlineData("telemetry/gw/pump-7/command/#")]
    [InlineData("telemetry/gw/pump\0/command/x")]
    public void Command_TopicThatNoBrokerMaySend_IsIgnored(string topic)
    {
        // Bug, found by fuzzing: the refusal went to a result topic that the MQTT client does not take, and the link was
        // dropped, at every connect anew.
        var commands = new CommandBoard();
        var intake = new CommandIntake(new Topics("telemetry/{gateway}/{device}", "", "gw"), commands);
        intake.Take(new MQTTnet.MqttApplicationMessage { Topic = topic });
        Assert.False(commands.Answers.TryRead(out _));
    }

    [Fact]
    public async Task Command_WithCorrelationDataOver1KiB_IsRefusedWithoutThem()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        var device = new Receiver();
        rig.Commands.Attach("pump-7", device);
        ScriptedLink link = await rig.StartAsync(broker);
        await ReadyAsync(rig, link);
        byte[] most = new byte[CommandIntake.CorrelationBytesMax];
        await link.PublishAsync("telemetry/gw/pump-7/command/x", [], responseTopic: "reply/1", correlation: [.. most, 0]);
        ReceivedPublish result = await link.NextAsync();
        Assert.Equal("reply/1", result.Topic);
        Assert.Null(result.CorrelationData);
        Assert.Equal("""{"error":"the correlation data are over 1024 bytes"}""", result.Text);
        await link.PublishAsync("telemetry/gw/pump-7/command/y", [], responseTopic: "reply/1", correlation: most);
        CommandRequest taken = await device.NextAsync();
        Assert.Equal("y", taken.Name);
        Assert.Equal(most, taken.CorrelationData);
    }

    [Fact]
    public async Task Command_WithAResponseTopicOver1KiB_IsAnsweredOnTheResultTopic()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        await ReadyAsync(rig, link);
        string topic = new('r', CommandIntake.ResponseTopicBytesMax);
        await link.PublishAsync("telemetry/gw/nobody/command/x", [], responseTopic: topic + "r");
        Assert.Equal("telemetry/gw/nobody/result/x", (await link.NextAsync()).Topic);
        await link.PublishAsync("telemetry/gw/nobody/command/x", [], responseTopic: topic);
        Assert.Equal(topic, (await link.NextAsync()).Topic);
    }


    [Fact]
    public async Task Answer_UnconfirmedWhenTheLinkGoes_IsSentOnceMore()
    {
        await using var broker = new ScriptedBroker();
        await using var rig = new Rig(broker);
        ScriptedLink link = await rig.StartAsync(broker);
        var request = new CommandRequest("pump-7", "x", [], null, null);
        rig.Commands.Answer(new CommandAnswer(request, 0, [], null));
        await link.NextAsync();
        link.Close();

        link = await rig.AcceptAsync(broker);
        Assert.Equal("telemetry/gw/pump-7/result/x", (await link.NextAsync()).Topic);
        link.Close();

        link = await rig.AcceptAsync(broker);
        rig.Add("valve-3");
        Assert.Equal("telemetry/gw/valve-3", (await link.NextAsync()).Topic);
    }

    [Theory]
    [InlineData("telemetry/{gateway}/{device}", "telemetry/gw/d/command/x", "d", "x")]
    [InlineData("{device}", "d/command/x/y", "d", "x/y")]
    [InlineData("a/{device}/b/{channel}", "a/d/b/command/x", "d", "x")]
    [InlineData("a/{device}/b/{channel}", "a/d/c/command/x", null, null)]
    [InlineData("telemetry/{gateway}/{device}", "telemetry/gw//command/x", null, null)]
    [InlineData("telemetry/{gateway}/{device}", "telemetry/gw/d/commands/x", null, null)]
    [InlineData("telemetry/{gateway}/{device}", "telemetry/gw/d", null, null)]
    [InlineData("telemetry/{gateway}/{device}", "telemetry/g", null, null)]
    public void TryReadCommand_Topic_GivesDeviceAndName(string template, string topic, string? device, string? name)
    {
        var topics = new Topics(template, "", "gw");
        Assert.Equal(device is not null, topics.TryReadCommand(topic, out string deviceId, out string command));
        Assert.Equal((device ?? "", name ?? ""), (deviceId, command));
    }

    [Fact]
    public void Topics_OfATemplateWithChannel_HangUnderItsBase()
    {
        var topics = new Topics("t/{gateway}/{device}/{channel}", "own/{gateway}", "gw");
        Assert.True(topics.HasChannel);
        Assert.Equal("t/gw/d/a/b", topics.Data("d", "a/b"));
        Assert.Equal("t/gw/d/meta", topics.Meta("d"));
        Assert.Equal("t/gw/d/status", topics.Status("d"));
        Assert.Equal("t/gw/d/result/x", topics.Result("d", "x"));
        Assert.Equal("t/gw/+/command/#", topics.CommandFilter);
        Assert.Equal("own/gw", topics.GatewayStatus);
    }

    // The subscription is behind the birth: a record behind both shows that it was read.
    private static async Task ReadyAsync(Rig rig, ScriptedLink link)
    {
        rig.Add("first");
        await link.PubAckAsync(await link.NextAsync());
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
    }

    private sealed class Receiver : ICommandReceiver
    {
        private readonly System.Threading.Channels.Channel<CommandRequest> requests =
            System.Threading.Channels.Channel.CreateUnbounded<CommandRequest>();

        public Task<CommandRequest> NextAsync() => requests.Reader.ReadAsync().AsTask().WaitAsync(Rig.HangGuard);

        public string? Receive(CommandRequest request)
        {
            requests.Writer.TryWrite(request);
            return null;
        }
    }
}
