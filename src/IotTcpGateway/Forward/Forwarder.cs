using System.Diagnostics.Metrics;
using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Forward.Payloads;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

using MQTTnet;
using MQTTnet.Formatter;
using MQTTnet.Protocol;

namespace IotTcpGateway.Forward;

/// <summary>What the link looks like now.</summary>
/// <param name="IsConnected">Whether the link is up.</param>
/// <param name="Broker">The broker in use, or tried next.</param>
/// <param name="Version">"5" or "3.1.1".</param>
/// <param name="InFlight">Messages published and not confirmed.</param>
/// <param name="Published">Messages confirmed since the start.</param>
/// <param name="Reconnects">Times that the link was made anew.</param>
/// <param name="LastFailure">Why the link was last lost or did not come about; empty if never.</param>
internal sealed record ForwarderStatus(
    bool IsConnected, string Broker, string Version, int InFlight, long Published, long Reconnects, string LastFailure);

/// <summary>Keeps a link to a broker and forwards the buffer over it, for ever.</summary>
internal sealed partial class Forwarder : IDisposable
{
    private const int AloneLossesMax = 3;
    private const int LossesBeforeProbing = 2;
    private static readonly TimeSpan PreferredProbeInterval = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan GoodbyeLimit = TimeSpan.FromSeconds(2);

    private readonly ForwardContext context;
    private readonly BrokerAddress[] brokers;
    private readonly CancellationTokenSource ending = new();
    private LinkState link;
    private BrokerSession? session;
    private Task running = Task.CompletedTask;
    private string lastFailure = "";
    private bool hasConnectedOnce;
    private bool isOutageLogged;
    private int lossesWithoutConfirmation;
    private RecordHandle? suspect;
    private int suspectLosses;

    public Forwarder(
        MqttOptions options,
        string gatewayId,
        string version,
        RecordBuffer buffer,
        DeviceBoard board,
        CommandBoard commands,
        GatewayClock clock,
        TimeProvider time,
        Meter meter,
        ILogger logger)
    {
        var topics = new Topics(options.Topic, options.StatusTopic, gatewayId);
        context = new ForwardContext
        {
            Options = options,
            GatewayId = gatewayId,
            Version = version,
            Topics = topics,
            Buffer = buffer,
            Board = board,
            Commands = commands,
            Clock = clock,
            Time = time,
            Metrics = new ForwardMetrics(meter),
            Encoder = options.Payload == "raw" ? new RawPayload() : new JsonPayload(clock, topics.HasChannel),
            RefusalLog = new LogLimit(time),
            Logger = logger,
        };
        buffer.Added += context.Signal.Set;
        board.Changed += context.Signal.Set;
        commands.Answered += context.Signal.Set;
        brokers = [.. options.Brokers.Select(b => BrokerAddress.TryParse(b)!)];
        link = new LinkState(0, 0, Wants311);
        context.Turned();
    }

    public ForwarderStatus Status => new(
        context.Metrics.IsConnected,
        brokers.Length > 0 ? brokers[link.Broker].ToString() : "",
        link.Is311 ? "3.1.1" : "5",
        context.Metrics.InFlight,
        context.Metrics.Published,
        context.Metrics.Reconnects,
        lastFailure);

    /// <summary>Whether its loop is alive.</summary>
    public bool IsTurningOver =>
        brokers.Length == 0 || context.Time.GetElapsedTime(context.TurnedAt) < TimeSpan.FromSeconds(20);

    /// <summary>Completes when the loop ends; faulted by a defect.</summary>
    public Task Completion => running;

    private bool Wants311 => context.Options.Version == "3.1.1";

    public void Start() => running = brokers.Length == 0 ? Task.CompletedTask : RunAsync();

    /// <summary>Waits until the broker has confirmed everything, while the link is up and the limit lasts.</summary>
    public async Task DrainAsync(TimeSpan limit)
    {
        long since = context.Time.GetTimestamp();
        while (context.Buffer.Records > 0 && context.Metrics.IsConnected && context.Time.GetElapsedTime(since) < limit)
            await Task.Delay(TimeSpan.FromMilliseconds(10), context.Time).ConfigureAwait(false);
    }

    /// <summary>Publishes what is on the board and the offline status, disconnects, and ends.</summary>
    public async Task StopAsync()
    {
        session?.Finish();
        if (session is not null)
            await Task.WhenAny(running, Task.Delay(GoodbyeLimit, context.Time)).ConfigureAwait(false);
        await ending.CancelAsync().ConfigureAwait(false);
        session?.Lose(LinkEvent.Lost, "stopping");
        await running.ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        context.Buffer.Added -= context.Signal.Set;
        context.Board.Changed -= context.Signal.Set;
        context.Commands.Answered -= context.Signal.Set;
        ending.Dispose();
        (context.Encoder as IDisposable)?.Dispose();
    }

    private async Task RunAsync()
    {
        await Task.Yield();
        while (!ending.IsCancellationRequested)
        {
            LinkEvent occurred = await ConnectAndForwardAsync().ConfigureAwait(false);
            if (ending.IsCancellationRequested || isSaidGoodbye)
                return;
            (link, LinkAction action) = BrokerLink.Next(link, occurred, brokers.Length, Wants311);
            await WaitAsync(action, occurred).ConfigureAwait(false);
        }
    }

    private bool isSaidGoodbye;

    private async Task WaitAsync(LinkAction action, LinkEvent occurred)
    {
        if (action.IsLoud)
            LogUnwelcome(context.Logger, occurred, lastFailure, action.WaitMax.TotalSeconds);
        double share = Random.Shared.NextDouble();
        TimeSpan wait = action.WaitMin + ((action.WaitMax - action.WaitMin) * share);
        long until = context.Time.GetTimestamp() + (long)(wait.TotalSeconds * context.Time.TimestampFrequency);
        try
        {
            // In steps, so that the watchdog sees the loop turn.
            while (context.Time.GetTimestamp() < until)
            {
                context.Turned();
                TimeSpan left = context.Time.GetElapsedTime(context.Time.GetTimestamp(), until);
                TimeSpan step = TimeSpan.FromSeconds(Math.Min(left.TotalSeconds, 2));
                await Task.Delay(step < TimeSpan.FromMilliseconds(1) ? TimeSpan.FromMilliseconds(1) : step, context.Time, ending.Token)
                    .ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // Told to end.
        }
    }

    private async Task<LinkEvent> ConnectAndForwardAsync()
    {
        context.Turned();
        BrokerAddress broker = brokers[link.Broker];
        var provider = new LinkStreamProvider(broker, context.Options.Tls, context.Options.MaxInboundPacket);
        using IMqttClient client = new MqttClientFactory().CreateMqttClient();
        MqttClientConnectResult? result;
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(ending.Token);
            limit.CancelAfter(context.Options.ConnectTimeout);
            result = await client.ConnectAsync(OptionsOf(broker, provider), limit.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (LinkStreamProvider.IsLinkFailure(e))
        {
            Failed(broker, e.GetBaseException().Message);
            bool closedAtOnce = provider.HasConnected && e is not OperationCanceledException
                && e.GetBaseException() is not OperationCanceledException;
            return closedAtOnce ? LinkEvent.VersionRefused : LinkEvent.Unreachable;
        }

        if (result.ResultCode != MqttClientConnectResultCode.Success)
        {
            Failed(broker, $"refused: {result.ResultCode} {result.ReasonString}".TrimEnd());
            return EventOf(result.ResultCode);
        }

        return await ForwardAsync(client, broker, result).ConfigureAwait(false);
    }

    private async Task<LinkEvent> ForwardAsync(IMqttClient client, BrokerAddress broker, MqttClientConnectResult result)
    {
        bool isProbing = lossesWithoutConfirmation >= LossesBeforeProbing;
        int receiveMaximum = result.ReceiveMaximum is > 0 ? result.ReceiveMaximum.Value : ushort.MaxValue;
        int window = isProbing ? 1 : Math.Min(context.Options.InFlight, receiveMaximum);
        long packetBytesMax = result.MaximumPacketSize is > 0 ? result.MaximumPacketSize.Value : 256 * 1024 * 1024;
        using var current = new BrokerSession(
            client, context, window, packetBytesMax, PingIntervalOf(result), isVersion5: !link.Is311);
        client.DisconnectedAsync += e =>
        {
            current.Lose(EventOf(e.Reason), e.Reason == MqttClientDisconnectReason.NormalDisconnection
                ? "closed by the broker"
                : $"{e.Reason} {e.ReasonString}".TrimEnd());
            return Task.CompletedTask;
        };
        client.ApplicationMessageReceivedAsync += e =>
        {
            TakeCommand(e.ApplicationMessage);
            return Task.CompletedTask;
        };
        Connected(broker, window);
        session = current;
        long since = context.Time.GetTimestamp();
        LinkEvent ended;
        try
        {
            if (!client.IsConnected)
                current.Lose(LinkEvent.Lost, "closed by the broker");
            using ITimer held = context.Time.CreateTimer(_ => Held(), null, BrokerLink.HeldAfter, Timeout.InfiniteTimeSpan);
            Task preferred = link.Broker == 0 ? Task.CompletedTask : ProbePreferredAsync(current);
            ended = await current.RunAsync().ConfigureAwait(false);
            await GoodbyeAsync(client, current).ConfigureAwait(false);
            await preferred.ConfigureAwait(false);
        }
        finally
        {
            session = null;
            context.Metrics.IsConnected = false;
        }

        Lost(broker, current, context.Time.GetElapsedTime(since));
        return ended;
    }

    private void Held() => (link, _) = BrokerLink.Next(link, LinkEvent.Held, brokers.Length, Wants311);

    private async Task GoodbyeAsync(IMqttClient client, BrokerSession ended)
    {
        if (ended.LostBecause.Length > 0 || !client.IsConnected)
            return;
        isSaidGoodbye = true;
        try
        {
            await client.DisconnectAsync(new MqttClientDisconnectOptions(), ending.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (LinkStreamProvider.IsLinkFailure(e))
        {
            // It went in the same moment: then its will says what we wanted to say.
        }
    }

    // While on another broker, the first one is looked at now and then; when it answers, the link moves back.
    private async Task ProbePreferredAsync(BrokerSession current)
    {
        try
        {
            while (current.LostBecause.Length == 0)
            {
                for (int second = 0; second < PreferredProbeInterval.TotalSeconds && current.LostBecause.Length == 0; second++)
                    await Task.Delay(TimeSpan.FromSeconds(1), context.Time, ending.Token).ConfigureAwait(false);
                if (current.LostBecause.Length == 0 && await AnswersAsync(brokers[0]).ConfigureAwait(false))
                    current.Lose(LinkEvent.PreferredWell, $"{brokers[0]} is well again");
            }
        }
        catch (OperationCanceledException)
        {
            // Told to end.
        }
    }

    private async Task<bool> AnswersAsync(BrokerAddress broker)
    {
        try
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(ending.Token);
            limit.CancelAfter(context.Options.ConnectTimeout);
            var provider = new LinkStreamProvider(broker, context.Options.Tls, context.Options.MaxInboundPacket);
            await using Stream stream = await provider.ConnectAsync(broker.EndPoint, limit.Token).ConfigureAwait(false);
            return true;
        }
        catch (Exception e) when (LinkStreamProvider.IsLinkFailure(e))
        {
            return false;
        }
    }

    private void Connected(BrokerAddress broker, int window)
    {
        context.Metrics.IsConnected = true;
        isOutageLogged = false;
        if (hasConnectedOnce)
            context.Metrics.Reconnected();
        hasConnectedOnce = true;
        LogConnected(context.Logger, broker.ToString(), link.Is311 ? "3.1.1" : "5", window);
    }

    private void Failed(BrokerAddress broker, string why)
    {
        lastFailure = why;
        // One line for an outage; how often it was tried is a matter of the metrics.
        if (isOutageLogged)
            return;
        isOutageLogged = true;
        LogUnreachable(context.Logger, broker.ToString(), why);
    }

    private void Lost(BrokerAddress broker, BrokerSession ended, TimeSpan after)
    {
        if (isSaidGoodbye || ending.IsCancellationRequested)
            return;
        lastFailure = ended.LostBecause;
        isOutageLogged = true;
        LogLost(context.Logger, broker.ToString(), ended.LostBecause, after.TotalSeconds);
        lossesWithoutConfirmation = ended.Confirmed > 0 ? 0 : lossesWithoutConfirmation + 1;
        CountAlone(ended.LostAlone);
        context.Buffer.Rewind();
    }

    // A record that brings the broker to close the link each time would block everything behind it for ever.
    private void CountAlone(RecordHandle? alone)
    {
        suspectLosses = alone is not null && alone == suspect ? suspectLosses + 1 : alone is null ? 0 : 1;
        suspect = alone;
        if (suspectLosses < AloneLossesMax)
            return;
        BufferedRecord record = context.Buffer.Read(alone!.Value);
        LogPoison(context.Logger, record.Stream.DeviceId, record.Stream.BootId, record.Sequence, AloneLossesMax);
        context.Buffer.Drop(alone.Value, DropReason.Refused);
        suspect = null;
        suspectLosses = lossesWithoutConfirmation = 0;
    }

    private void TakeCommand(MqttApplicationMessage message)
    {
        // A retained command would be obeyed anew at every connect.
        if (message.Retain || !context.Topics.TryReadCommand(message.Topic, out string deviceId, out string name))
            return;
        context.Commands.Post(new CommandRequest(
            deviceId,
            name,
            System.Buffers.BuffersExtensions.ToArray(message.Payload),
            string.IsNullOrEmpty(message.ResponseTopic) ? null : message.ResponseTopic,
            message.CorrelationData));
    }

    private MqttClientOptions OptionsOf(BrokerAddress broker, LinkStreamProvider provider)
    {
        MqttOptions options = context.Options;
        MqttClientOptionsBuilder builder = new MqttClientOptionsBuilder()
            .WithTcpServer(broker.Host, broker.Port)
            .WithStreamProvider(provider)
            .WithProtocolVersion(link.Is311 ? MqttProtocolVersion.V311 : MqttProtocolVersion.V500)
            .WithClientId(options.ClientId)
            .WithCleanStart(true)
            .WithKeepAlivePeriod(options.KeepAlive)
            .WithTimeout(options.AckTimeout)
            .WithWillTopic(context.Topics.GatewayStatus)
            .WithWillPayload(context.OfflinePayload())
            .WithWillRetain(true)
            .WithWillQualityOfServiceLevel(MqttQualityOfServiceLevel.AtLeastOnce)
            .WithoutPacketFragmentation();
        if (!link.Is311)
            builder = builder.WithMaximumPacketSize((uint)options.MaxInboundPacket);
        if (options.Username is not null)
            builder = builder.WithCredentials(options.Username, PasswordOf(options));
        return builder.Build();
    }

    private static byte[]? PasswordOf(MqttOptions options) => options.PasswordFile is null
        ? null
        : Encoding.UTF8.GetBytes(File.ReadAllText(options.PasswordFile).TrimEnd('\r', '\n'));

    // Half the keep-alive, whatever else is sent: a line that takes bytes and brings none is noticed.
    private TimeSpan PingIntervalOf(MqttClientConnectResult result)
    {
        TimeSpan keepAlive = result.ServerKeepAlive > 0
            ? TimeSpan.FromSeconds(Math.Min(result.ServerKeepAlive, context.Options.KeepAlive.TotalSeconds))
            : context.Options.KeepAlive;
        return keepAlive / 2;
    }

    private static LinkEvent EventOf(MqttClientConnectResultCode code) => code switch
    {
        MqttClientConnectResultCode.UnsupportedProtocolVersion => LinkEvent.VersionRefused,
        MqttClientConnectResultCode.BadUserNameOrPassword
            or MqttClientConnectResultCode.NotAuthorized
            or MqttClientConnectResultCode.Banned
            or MqttClientConnectResultCode.ClientIdentifierNotValid
            or MqttClientConnectResultCode.BadAuthenticationMethod => LinkEvent.Unwelcome,
        _ => LinkEvent.Unavailable,
    };

    private static LinkEvent EventOf(MqttClientDisconnectReason reason) => reason switch
    {
        MqttClientDisconnectReason.SessionTakenOver => LinkEvent.TakenOver,
        MqttClientDisconnectReason.NotAuthorized
            or MqttClientDisconnectReason.AdministrativeAction => LinkEvent.Unwelcome,
        MqttClientDisconnectReason.ServerBusy
            or MqttClientDisconnectReason.ServerShuttingDown
            or MqttClientDisconnectReason.UseAnotherServer
            or MqttClientDisconnectReason.ServerMoved
            or MqttClientDisconnectReason.QuotaExceeded
            or MqttClientDisconnectReason.ConnectionRateExceeded => LinkEvent.Unavailable,
        _ => LinkEvent.Lost,
    };

    [LoggerMessage(1410, LogLevel.Information, "connected to {Broker} (MQTT {Version}, window {Window})")]
    private static partial void LogConnected(ILogger logger, string broker, string version, int window);

    [LoggerMessage(1411, LogLevel.Warning, "cannot connect to {Broker}: {Why}; frames are kept, trying on")]
    private static partial void LogUnreachable(ILogger logger, string broker, string why);

    [LoggerMessage(1412, LogLevel.Warning, "the link to {Broker} is lost after {Seconds:0} s: {Why}; frames are kept, trying on")]
    private static partial void LogLost(ILogger logger, string broker, string why, double seconds);

    [LoggerMessage(1413, LogLevel.Error,
        "the broker does not want this gateway ({Event}: {Why}): check credentials, and that no other gateway has this client id; trying again within {Seconds:0} s")]
    private static partial void LogUnwelcome(ILogger logger, LinkEvent @event, string why, double seconds);

    [LoggerMessage(1414, LogLevel.Error,
        "gave up frame {Sequence} of device {Device}, boot {Boot}: the broker closed the link {Times} times with it alone in flight")]
    private static partial void LogPoison(ILogger logger, string device, uint boot, uint sequence, int times);
}
