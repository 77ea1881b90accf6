using System.Diagnostics.Metrics;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Forward.Payloads;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Forward;

/// <summary>What the link looks like now.</summary>
/// <param name="IsConnected">Whether the link is up.</param>
/// <param name="Broker">The broker in use, or tried next.</param>
/// <param name="Version">"5" or "3.1.1".</param>
/// <param name="InFlight">Messages published and not confirmed.</param>
/// <param name="Published">Messages confirmed since the start.</param>
/// <param name="Reconnects">Times that the link was made anew.</param>
/// <param name="LastFailure">Why the link was last lost or did not come about; empty if never.</param>
/// <param name="DevicesWaiting">Devices whose messages the broker refuses for now.</param>
internal sealed record ForwarderStatus(
    bool IsConnected,
    string Broker,
    string Version,
    int InFlight,
    long Published,
    long Reconnects,
    string LastFailure,
    int DevicesWaiting);

/// <summary>Keeps a link to a broker and forwards the buffer over it, for ever.</summary>
internal sealed partial class Forwarder : IDisposable
{
    // Longest time in which the loop does not turn, beside connecting.
    private static readonly TimeSpan TurnLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan WaitStep = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan GoodbyeLimit = TimeSpan.FromSeconds(2);

    private readonly ForwardContext context;
    private readonly BrokerAddress[] brokers;
    private readonly CommandIntake commands;
    private readonly OutageLog log;
    private readonly Func<double> jitter;
    private readonly CancellationTokenSource ending = new();
    private LinkState link;
    private SuspicionState suspicion;
    private volatile BrokerSession? session;
    private Task running = Task.CompletedTask;
    private string lastFailure = "";
    private bool hasConnectedOnce;

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
        ILogger logger,
        Func<double>? jitter = null,
        DropLedger? ledger = null,
        int drainRate = 0,
        Func<DiskStatus>? disk = null)
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
            Ledger = ledger,
            DrainRate = drainRate,
            Disk = disk ?? (() => DiskStatus.Off),
            Clock = clock,
            Time = time,
            Metrics = new ForwardMetrics(meter, ledger),
            Encoder = options.Payload == "raw" ? new RawPayload() : new JsonPayload(clock, topics.HasChannel),
            RefusalLog = new LogLimit(time),
            Logger = logger,
        };
        this.commands = new CommandIntake(topics, commands);
        this.jitter = jitter ?? Random.Shared.NextDouble;
        log = new OutageLog(logger, time);
        brokers = [.. options.Brokers.Select(b => BrokerAddress.TryParse(b)!)];
        link = BrokerLink.Start(Wants311);
        buffer.Added += context.Signal.Set;
        board.Changed += context.Signal.Set;
        commands.Answered += context.Signal.Set;
        if (ledger is not null)
            ledger.Added += context.Signal.Set;
        context.Turned();
    }

    public ForwarderStatus Status
    {
        get
        {
            LinkState now = Volatile.Read(ref link);
            return new(
                context.Metrics.IsConnected,
                brokers.Length > 0 ? brokers[now.Broker].ToString() : "",
                now.Is311 ? "3.1.1" : "5",
                context.Metrics.InFlight,
                context.Metrics.Published,
                context.Metrics.Reconnects,
                Volatile.Read(ref lastFailure),
                context.Metrics.DevicesWaiting);
        }
    }

    /// <summary>Whether its loop is alive.</summary>
    public bool IsTurningOver => brokers.Length == 0
        || context.Time.GetElapsedTime(context.TurnedAt) < context.Options.ConnectTimeout + TurnLimit;

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
        if (session is { } current)
        {
            current.Finish();
            await Task.WhenAny(running, Task.Delay(GoodbyeLimit, context.Time)).ConfigureAwait(false);
        }

        await ending.CancelAsync().ConfigureAwait(false);
        await running.ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        context.Buffer.Added -= context.Signal.Set;
        context.Board.Changed -= context.Signal.Set;
        context.Commands.Answered -= context.Signal.Set;
        if (context.Ledger is not null)
            context.Ledger.Added -= context.Signal.Set;
        ending.Dispose();
        (context.Encoder as IDisposable)?.Dispose();
    }

    private async Task RunAsync()
    {
        await Task.Yield();
        while (!ending.IsCancellationRequested)
        {
            context.Turned();
            LinkEvent occurred = await ConnectAndForwardAsync(brokers[link.Broker]).ConfigureAwait(false);
            if (occurred == LinkEvent.Finished)
                return;
            (link, LinkAction action) = BrokerLink.Next(link, occurred, brokers.Length, Wants311);
            if (action.IsLoud)
                log.Unwelcome(occurred, lastFailure, action.WaitMax);
            await WaitAsync(action).ConfigureAwait(false);
        }
    }

    private async Task<LinkEvent> ConnectAndForwardAsync(BrokerAddress broker)
    {
        var loss = new LinkLoss(context.Signal);
        var connector = new BrokerConnector(context, broker, link.Is311);
        ConnectOutcome outcome = await connector.ConnectAsync(loss, commands.Take, ending.Token).ConfigureAwait(false);
        if (outcome.Client is not { } client)
        {
            lastFailure = outcome.Why;
            if (!ending.IsCancellationRequested)
                log.Failed(broker.ToString(), outcome.Why);
            return outcome.Event;
        }

        Connected(broker, outcome.Terms!);
        using var current = new BrokerSession(
            client, context, outcome.Terms!, loss, suspicion.IsProbing, () => Held(broker));
        long since = context.Time.GetTimestamp();
        LinkEnd end = await ForwardAsync(current, loss).ConfigureAwait(false);
        if (end.Event != LinkEvent.Finished)
            Lost(broker, end, loss.Why, context.Time.GetElapsedTime(since));
        return end.Event;
    }

    private async Task<LinkEnd> ForwardAsync(BrokerSession current, LinkLoss loss)
    {
        // Covers also a stop that found no session, because this one was just about to be.
        using CancellationTokenRegistration stop =
            ending.Token.Register(() => loss.Set(LinkEvent.Finished, "stopping"));
        using var linkEnded = CancellationTokenSource.CreateLinkedTokenSource(ending.Token);
        Task watching = link.Broker == 0 ? Task.CompletedTask : WatchPreferredAsync(loss, linkEnded.Token);
        session = current;
        try
        {
            return await current.RunAsync().ConfigureAwait(false);
        }
        finally
        {
            session = null;
            context.Metrics.IsConnected = false;
            await linkEnded.CancelAsync().ConfigureAwait(false);
            await watching.ConfigureAwait(false);
        }
    }

    private async Task WatchPreferredAsync(LinkLoss loss, CancellationToken linkEnded)
    {
        var preferred = new PreferredBroker(new BrokerConnector(context, brokers[0], Wants311), context.Time);
        if (await preferred.IsWellAsync(linkEnded).ConfigureAwait(false))
            loss.Set(LinkEvent.PreferredWell, $"{brokers[0]} is well again");
    }

    // In steps, so that the watchdog sees the loop turn.
    private async Task WaitAsync(LinkAction action)
    {
        TimeSpan wait = action.WaitMin + ((action.WaitMax - action.WaitMin) * jitter());
        long since = context.Time.GetTimestamp();
        try
        {
            while (wait - context.Time.GetElapsedTime(since) is var left && left > TimeSpan.Zero)
            {
                context.Turned();
                await Task.Delay(left < WaitStep ? left : WaitStep, context.Time, ending.Token).ConfigureAwait(false);
            }
        }
        catch (OperationCanceledException)
        {
            // Told to end.
        }
    }

    private void Connected(BrokerAddress broker, BrokerTerms terms)
    {
        context.Metrics.IsConnected = true;
        if (hasConnectedOnce)
            context.Metrics.Reconnected();
        hasConnectedOnce = true;
        log.Connected(broker.ToString(), terms.IsVersion5 ? "5" : "3.1.1", terms.Window);
    }

    // Called by the session's loop, so within this one's.
    private void Held(BrokerAddress broker)
    {
        (link, _) = BrokerLink.Next(link, LinkEvent.Held, brokers.Length, Wants311);
        log.Held(broker.ToString());
    }

    private void Lost(BrokerAddress broker, in LinkEnd end, string why, TimeSpan after)
    {
        lastFailure = why;
        log.Lost(broker.ToString(), why, after);
        (suspicion, Suspect? givenUp) = Suspicion.Next(suspicion, end);
        if (givenUp is { } who)
            GiveUp(who, end.Record);
        context.Buffer.Rewind();
    }

    private void GiveUp(Suspect who, RecordHandle? record)
    {
        switch (who.Kind)
        {
            case SuspectKind.Record:
                LogPoison(context.Logger, who.Name, Suspicion.ProofsNeeded);
                context.Buffer.Refuse(record!.Value, "link-lost");
                break;
            case SuspectKind.Subscription:
                LogSubscription(context.Logger, who.Name, Suspicion.ProofsNeeded);
                context.IsSubscriptionMuted = true;
                break;
            default:
                LogState(context.Logger, who.Name, Suspicion.ProofsNeeded);
                context.MutedTopics.Add(who.Name);
                break;
        }
    }

    [LoggerMessage(ForwardEvents.PoisonGivenUp, LogLevel.Error,
        "gave up the frame of device {Frame}: the broker closed the link {Times} times with it alone in flight")]
    private static partial void LogPoison(ILogger logger, string frame, int times);

    [LoggerMessage(ForwardEvents.StateGivenUp, LogLevel.Error,
        "{Topic} is not told again until it changes: the broker closed the link {Times} times when it came to it")]
    private static partial void LogState(ILogger logger, string topic, int times);

    [LoggerMessage(ForwardEvents.SubscriptionGivenUp, LogLevel.Error,
        "{Filter} is not subscribed any more: the broker closed the link {Times} times; commands will not arrive")]
    private static partial void LogSubscription(ILogger logger, string filter, int times);
}
