using System.Text;

using IotTcpGateway.DeviceClient;
using IotTcpGateway.TestKit;

using MQTTnet;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>From the broker to a device and back.</summary>
public sealed class CommandTests
{
    [Fact]
    public async Task Command_ToDevice_IsCarriedOutAndItsResultArrives()
    {
        await using var setup = await Setup.StartAsync((command, _) => ValueTask.FromResult(
            DeviceCommandReply.WithText(0, $"{command.Name}={Encoding.UTF8.GetString(command.Payload.Span)} done")));
        await setup.Subscriber.PublishAsync("telemetry/gw/pump/command/valve/1", "open ä");
        await setup.Subscriber.SeesAsync(
            "telemetry/gw/pump/result/valve/1",
            json => json.GetProperty("status").GetInt32() == 0
                && json.GetProperty("payload").GetString() == "valve/1=open ä done");
    }

    [Fact]
    public async Task Command_WithResponseTopicAndCorrelation_AnswersThere()
    {
        byte[] notText = [0xFF, 0xFE];
        await using var setup = await Setup.StartAsync(
            (_, _) => ValueTask.FromResult(new DeviceCommandReply(3, notText)));
        byte[] correlation = [1, 2, 3, 0];
        await setup.Subscriber.PublishAsync(new MqttApplicationMessageBuilder()
            .WithTopic("telemetry/gw/pump/command/read")
            .WithResponseTopic("answers/here")
            .WithCorrelationData(correlation)
            .Build());
        MqttApplicationMessage answer = await setup.Subscriber.SeesAsync(
            "answers/here",
            json => json.GetProperty("status").GetInt32() == 3 && json.GetProperty("base64").GetString() == "//4=");
        Assert.Equal(correlation, answer.CorrelationData.ToArray());
        Assert.Null(setup.Subscriber.Last("telemetry/gw/pump/result/read"));
    }

    [Fact]
    public async Task Command_HandlerThrows_ItsWordsAreTheResult()
    {
        await using var setup = await Setup.StartAsync(
            (_, _) => throw new InvalidOperationException("the valve is stuck"));
        await setup.Subscriber.PublishAsync("telemetry/gw/pump/command/valve", "open");
        await setup.Subscriber.SeesAsync(
            "telemetry/gw/pump/result/valve",
            json => json.GetProperty("status").GetInt32() == 255
                && json.GetProperty("payload").GetString() == "the valve is stuck");
    }

    [Fact]
    public async Task Command_UnknownDeviceOrTooLarge_IsAnError()
    {
        await using var setup = await Setup.StartAsync((_, _) => ValueTask.FromResult(DeviceCommandReply.Done));
        await setup.Subscriber.PublishAsync("telemetry/gw/nobody/command/valve", "open");
        await setup.Subscriber.SeesAsync(
            "telemetry/gw/nobody/result/valve", json => json.TryGetProperty("error", out _));
        await setup.Subscriber.PublishAsync("telemetry/gw/pump/command/valve", new string('x', 600));
        await setup.Subscriber.SeesAsync("telemetry/gw/pump/result/valve", json => json.TryGetProperty("error", out _));
        Assert.Empty(setup.Commands);
    }

    [Fact]
    public async Task Command_Retained_IsIgnored()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using (Subscriber operators = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id))
        {
            await operators.PublishAsync(new MqttApplicationMessageBuilder()
                .WithTopic("telemetry/gw/pump/command/old")
                .WithPayload("open")
                .WithRetainFlag()
                .Build());
        }

        await using var setup = await Setup.StartAsync((_, _) => ValueTask.FromResult(DeviceCommandReply.Done), broker);
        await broker.RestartAsync();
        await setup.IsReadyAsync();
        // What is retained comes with the subscription, and so before any command from now on.
        await setup.Subscriber.PublishAsync("telemetry/gw/pump/command/new", "");
        await setup.Subscriber.SeesAsync(
            "telemetry/gw/pump/result/new", json => json.GetProperty("status").GetInt32() == 0);
        Assert.DoesNotContain("old", setup.Commands);
        Assert.Contains("new", setup.Commands);
    }

    /// <summary>A gateway with one tagged device at a broker.</summary>
    private sealed class Setup : IAsyncDisposable
    {
        private readonly List<IAsyncDisposable> parts = [];
        private readonly System.Collections.Concurrent.ConcurrentQueue<string> commands = new();

        public required Subscriber Subscriber { get; init; }

        public required RunningGateway Gateway { get; init; }

        public IReadOnlyCollection<string> Commands => commands;

        public static async Task<Setup> StartAsync(
            Func<DeviceCommand, CancellationToken, ValueTask<DeviceCommandReply>> handler,
            MosquittoBroker? given = null)
        {
            MosquittoBroker broker = given ?? await MosquittoBroker.StartAsync();
            Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
            RunningGateway gateway = RunningGateway.Start(["pump"], broker.Port);
            var setup = new Setup { Subscriber = subscriber, Gateway = gateway };
            byte[] key = gateway.Keys["pump"];
            ValueTask<DeviceCommandReply> Handle(DeviceCommand command, CancellationToken ended)
            {
                setup.commands.Enqueue(command.Name);
                return handler(command, ended);
            }

            var device = new FieldDevice(1, "pump", gateway.Endpoint, key, isTagged: true, onCommand: Handle);
            setup.parts.AddRange([device, gateway, subscriber]);
            if (given is null)
                setup.parts.Add(broker);
            await subscriber.SeesStateAsync("telemetry/gw/pump/status", "online");
            await setup.IsReadyAsync();
            return setup;
        }

        /// <summary>Returns when the gateway's subscription is in force: a command to nobody is answered.</summary>
        public async Task IsReadyAsync()
        {
            string name = $"ready-{Guid.NewGuid():N}";
            using var guard = new CancellationTokenSource(Patience.HangGuard);
            while (Subscriber.Last($"telemetry/gw/nobody/result/{name}") is null)
            {
                await Subscriber.PublishAsync($"telemetry/gw/nobody/command/{name}", "");
                await Task.Delay(20, guard.Token);
            }
        }

        public async ValueTask DisposeAsync()
        {
            foreach (IAsyncDisposable part in parts)
                await part.DisposeAsync();
        }
    }
}
