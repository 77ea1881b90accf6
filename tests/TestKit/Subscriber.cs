using System.Buffers;
using System.Text.Json;

using MQTTnet;
using MQTTnet.Protocol;

namespace IotTcpGateway.TestKit;

/// <summary>
/// A consumer behind the broker with a session that outlives its connections and the broker's restarts: what the broker
/// has confirmed to the gateway comes here. It can publish, too.
/// </summary>
public sealed class Subscriber : IAsyncDisposable
{
    private static readonly TimeSpan ReconnectAfter = TimeSpan.FromMilliseconds(20);

    private readonly Lock gate = new();
    private readonly Dictionary<string, MqttApplicationMessage> states = [];
    private readonly List<JsonElement> gaps = [];
    private readonly CancellationTokenSource stopping = new();
    private readonly IMqttClient client = new MqttClientFactory().CreateMqttClient();
    private readonly MqttClientOptions options;
    private Task running = Task.CompletedTask;
    private int sessions;

    private Subscriber(int port, string gatewayId)
    {
        Deliveries = new Deliveries(gatewayId);
        options = new MqttClientOptionsBuilder()
            .WithTcpServer("127.0.0.1", port)
            .WithProtocolVersion(MQTTnet.Formatter.MqttProtocolVersion.V500)
            .WithClientId($"subscriber-{Guid.NewGuid():N}")
            .WithCleanStart(false)
            .WithSessionExpiryInterval(uint.MaxValue)
            .Build();
    }

    /// <summary>Telemetry.</summary>
    public Deliveries Deliveries { get; }

    /// <summary>Every gap report, those that came again too.</summary>
    public IReadOnlyList<JsonElement> Gaps
    {
        get
        {
            lock (gate)
                return [.. gaps];
        }
    }

    /// <summary>Times that the broker did not know its session and it had to subscribe.</summary>
    public int Sessions => Volatile.Read(ref sessions);

    /// <summary>Connects and subscribes to everything.</summary>
    public static async Task<Subscriber> StartAsync(int port, string gatewayId)
    {
        var subscriber = new Subscriber(port, gatewayId);
        subscriber.client.ApplicationMessageReceivedAsync += received =>
        {
            subscriber.Take(received.ApplicationMessage);
            return Task.CompletedTask;
        };
        await subscriber.ConnectAsync();
        subscriber.running = subscriber.StayConnectedAsync();
        return subscriber;
    }

    /// <summary>The newest message of a topic that is not telemetry; null if there was none.</summary>
    public MqttApplicationMessage? Last(string topic)
    {
        lock (gate)
            return states.GetValueOrDefault(topic);
    }

    /// <summary>Returns the newest message of a topic once it is as wanted.</summary>
    public async Task<MqttApplicationMessage> SeesAsync(string topic, Func<JsonElement, bool> wanted)
    {
        MqttApplicationMessage? last = null;
        await Patience.UntilAsync(
            () => (last = Last(topic)) is not null && !last.Payload.IsEmpty && wanted(JsonOf(last)),
            () => $"{topic} was not as wanted; seen: {Describe()}");
        return last!;
    }

    /// <summary>Returns when a topic's state is that.</summary>
    public Task<MqttApplicationMessage> SeesStateAsync(string topic, string state) =>
        SeesAsync(topic, json => json.GetProperty("state").GetString() == state);

    /// <summary>Publishes, once the broker is there, and waits for its confirmation.</summary>
    public async Task PublishAsync(MqttApplicationMessage message)
    {
        for (bool isPublished = false; !isPublished;)
        {
            await Patience.UntilAsync(() => client.IsConnected, () => "the subscriber finds no broker");
            try
            {
                await client.PublishAsync(message);
                isPublished = true;
            }
            catch (MQTTnet.Exceptions.MqttClientNotConnectedException)
            {
                // It went in this very moment.
            }
        }
    }

    public Task PublishAsync(string topic, string payload) => PublishAsync(new MqttApplicationMessageBuilder()
        .WithTopic(topic)
        .WithPayload(payload)
        .WithQualityOfServiceLevel(MqttQualityOfServiceLevel.AtLeastOnce)
        .Build());

    public static string TextOf(MqttApplicationMessage message) =>
        System.Text.Encoding.UTF8.GetString(BuffersExtensions.ToArray(message.Payload));

    public static JsonElement JsonOf(MqttApplicationMessage message)
    {
        using JsonDocument document = JsonDocument.Parse(message.Payload);
        return document.RootElement.Clone();
    }

    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync();
        await running;
        client.Dispose();
        stopping.Dispose();
    }

    private async Task ConnectAsync()
    {
        MqttClientConnectResult result = await client.ConnectAsync(options, stopping.Token);
        if (result.ResultCode != MqttClientConnectResultCode.Success)
            throw new InvalidOperationException($"the broker refused the subscriber: {result.ResultCode}");
        if (result.IsSessionPresent)
            return;
        Interlocked.Increment(ref sessions);
        await client.SubscribeAsync("#", MqttQualityOfServiceLevel.AtLeastOnce, stopping.Token);
    }

    private async Task StayConnectedAsync()
    {
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                await Task.Delay(ReconnectAfter, stopping.Token);
                if (!client.IsConnected)
                    await ConnectAsync();
            }
            catch (Exception away) when (away is OperationCanceledException or InvalidOperationException
                or MQTTnet.Exceptions.MqttCommunicationException or MQTTnet.Exceptions.MqttClientDisconnectedException)
            {
                // The broker is away, which is what the tests are about; or this subscriber is to end.
            }
        }
    }

    private void Take(MqttApplicationMessage message)
    {
        if (Deliveries.Take(message))
            return;
        // The client uses its buffers again once the handler has ended.
        message.Payload = new ReadOnlySequence<byte>(BuffersExtensions.ToArray(message.Payload));
        lock (gate)
        {
            states[message.Topic] = message;
            if (message.Topic.EndsWith("/gaps", StringComparison.Ordinal))
                gaps.Add(JsonOf(message));
        }
    }

    private string Describe()
    {
        lock (gate)
        {
            return string.Join("; ", states.Values.Select(
                m => $"{m.Topic} = {TextOf(m)}"));
        }
    }
}
