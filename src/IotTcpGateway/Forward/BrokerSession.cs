using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Escaping;
using IotTcpGateway.Forward.Payloads;
using Microsoft.Extensions.Logging;
using MQTTnet;

namespace IotTcpGateway.Forward;

/// <summary>
/// One connection to a broker: a single loop publishes within the window and settles records by what the broker
/// answers. When an answer is overdue, the link is dropped and everything unconfirmed goes again.
/// </summary>
internal sealed partial class BrokerSession : IDisposable
{
    // Records, states, answers, gap reports.
    private const int Turns = 4;

    private static readonly TimeSpan TurnInterval = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan LastWordsLimit = TimeSpan.FromSeconds(2);

    private readonly IMqttClient client;
    private readonly ForwardContext context;
    private readonly BrokerTerms terms;
    private readonly LinkLoss loss;
    private readonly bool isProbing;
    private readonly Action held;
    private readonly Outbox outbox;
    private readonly RecordFlow records;
    private readonly StateFeed states;
    private readonly GapFeed gaps;
    private readonly CancellationTokenSource ended = new();
    private readonly Heartbeat heartbeat;
    private readonly CommandSubscription subscription;
    private readonly LoopTimer timer;
    private readonly long startedAt;
    private DiskStatus diskTold = DiskStatus.Off;
    private int turn;
    private bool isHeld;
    private bool isFinishing;
    private bool hasSaidGoodbye;

    public BrokerSession(
        IMqttClient client, ForwardContext context, BrokerTerms terms, LinkLoss loss, bool isProbing, Action held)
    {
        this.client = client;
        this.context = context;
        this.terms = terms;
        this.loss = loss;
        this.isProbing = isProbing;
        this.held = held;
        outbox = new Outbox(client, context, terms, loss);
        records = new RecordFlow(context, outbox);
        states = new StateFeed(context, outbox);
        gaps = new GapFeed(context, outbox);
        heartbeat = new Heartbeat(client, context.Time, context.Signal, loss, terms.PingInterval, AckTimeout);
        subscription = new CommandSubscription(client, context, terms, loss);
        timer = new LoopTimer(context.Time, context.Signal);
        startedAt = context.Time.GetTimestamp();
    }

    private TimeSpan AckTimeout => context.Options.AckTimeout;

    // One message at a time, a suspected record first and nothing beside it, until the broker has answered a record.
    private bool IsRestrained => isProbing && records.Answered == 0;

    /// <summary>Tells the loop to say goodbye: what is on the board, and the gateway's offline status.</summary>
    public void Finish()
    {
        Volatile.Write(ref isFinishing, true);
        context.Signal.Set();
    }

    /// <summary>Publishes until the link is lost or everything is said.</summary>
    public async Task<LinkEnd> RunAsync()
    {
        context.Buffer.BeginTaking();
        TellOnline();
        while (!loss.HasHappened && !(hasSaidGoodbye && outbox.IsEmpty && outbox.InFlight == 0))
        {
            context.Turned();
            Publish();
            long now = context.Time.GetTimestamp();
            if (!outbox.HasAnswers && timer.Set(now, UntilNextDue()))
                await context.Signal.WaitAsync().ConfigureAwait(false);

            Settle();
            CheckDeadlines();
        }

        return await EndAsync().ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        timer.Dispose();
        ended.Dispose();
    }

    private void Publish()
    {
        outbox.Window = IsRestrained ? 1 : terms.Window;
        Send();
        TellOnlineIfChanged();
        Subscribe();
        while (CanTake() && TakeNext())
        {
            Send();
        }

        records.CloseBatches(closeAll: Volatile.Read(ref isFinishing));
        Send();
        SayGoodbye();
        context.Metrics.InFlight = outbox.InFlight;
        context.Metrics.BytesHeld = outbox.BytesHeld;
        context.Metrics.DevicesWaiting = records.DevicesWaiting;
    }

    // While the window is full, records are still gathered into batches, so that these are the larger the slower it
    // goes.
    private bool CanTake() =>
        outbox.IsEmpty && outbox.HasMemory && (outbox.HasWindow || records.IsBatching) && !outbox.IsCut;

    private bool TakeNext()
    {
        if (IsRestrained && TakeRecord())
            return true;
        // In turn, so that none of them starves another: after a reconnect the states of many devices are to be told.
        for (int tried = 0; tried < Turns; tried++)
        {
            turn = (turn + 1) % Turns;
            if (turn switch { 0 => TakeRecord(), 1 => TakeState(), 2 => TakeAnswer(), _ => TakeGap() })
                return true;
        }

        return false;
    }

    private bool TakeRecord() => !Volatile.Read(ref isFinishing) && records.TryTake(mustBeAlone: IsRestrained);

    private bool TakeState()
    {
        if (!outbox.HasWindow)
            return false;
        if (Volatile.Read(ref isFinishing))
            states.EndRound();
        return states.TryTake();
    }

    private bool TakeAnswer()
    {
        if (!outbox.HasWindow)
            return false;
        bool isAgain = context.AnswersAgain.TryDequeue(out CommandAnswer? answer);
        if (!isAgain && !context.Commands.Answers.TryRead(out answer))
            return false;
        CommandRequest request = answer!.Request;
        Publication publication = outbox.Rent(
            request.ResponseTopic ?? context.Topics.Result(request.DeviceId, request.Name));
        outbox.Append(publication, StatusPayloads.CommandResult(answer));
        publication.Answer = answer;
        publication.IsAgain = isAgain;
        outbox.Enqueue(publication);
        return true;
    }

    private bool TakeGap() => outbox.HasWindow && gaps.TryTake(isLast: Volatile.Read(ref isFinishing));

    private void Send()
    {
        while (outbox.Send() is { } tooLarge)
        {
            Settle(tooLarge, Verdict.Refused, "packet-too-large");
        }
    }

    private void TellOnline()
    {
        diskTold = context.Disk();
        PublishGatewayStatus(context.OnlinePayload(diskTold));
    }

    // What became of the disk is for those to know who watch the gateway.
    private void TellOnlineIfChanged()
    {
        if (Volatile.Read(ref isFinishing) || !outbox.IsEmpty || !outbox.HasWindow || outbox.IsCut)
            return;
        DiskStatus now = context.Disk();
        if (now.State != diskTold.State || now.Error != diskTold.Error)
            TellOnline();
    }

    private void PublishGatewayStatus(byte[] payload)
    {
        Publication publication = outbox.Rent(context.Topics.GatewayStatus);
        outbox.Append(publication, payload);
        publication.IsRetained = true;
        outbox.Enqueue(publication);
    }

    private void SayGoodbye()
    {
        if (hasSaidGoodbye || !Volatile.Read(ref isFinishing))
            return;
        // Whatever is on the board comes first, and is confirmed.
        if (!outbox.IsEmpty || !outbox.HasWindow || states.InFlight > 0 || gaps.InFlight > 0)
            return;
        hasSaidGoodbye = true;
        PublishGatewayStatus(context.OfflinePayload());
        Send();
    }

    private void Settle()
    {
        while (outbox.TryTakeAnswer(out Publication? publication, out int code))
        {
            (Verdict verdict, string reason) = BrokerReasons.OfPubAck(code);
            Settle(publication, verdict, reason);
        }
    }

    private void Settle(Publication publication, Verdict verdict, string reason)
    {
        if (verdict != Verdict.Confirmed)
        {
            context.Metrics.MessageRefused(reason);
            if (context.RefusalLog.Passes())
                LogRefused(context.Logger, SafeText.Clean(publication.Topic), reason);
        }

        records.Settle(publication, verdict, reason);
        if (publication.Notice is { } notice)
            states.Answered(notice, verdict);
        if (publication.Gap is { } gap)
            gaps.Answered(gap, verdict);
        outbox.Done(publication, verdict);
    }

    private void CheckDeadlines()
    {
        if (outbox.Oldest is { } oldest && Elapsed(oldest.WaitingSince) >= AckTimeout)
            loss.Set(LinkEvent.Overdue, $"no PUBACK for {AckTimeout.TotalSeconds:0.#} s");
        if (outbox.CutBecause is { } cut && Elapsed(outbox.CutAt) >= AckTimeout)
            loss.Set(LinkEvent.Lost, cut);
        heartbeat.Beat(outbox.HeardAt, ended.Token);
        if (!isHeld && outbox.Confirmed > 0 && Elapsed(startedAt) >= BrokerLink.HeldAfter)
        {
            isHeld = true;
            held();
        }

        states.RetryIfDue();
    }

    private TimeSpan UntilNextDue()
    {
        // The watchdog wants to see the loop turn.
        TimeSpan due = TurnInterval;
        if (outbox.Oldest is { } oldest)
            due = Earlier(due, AckTimeout - Elapsed(oldest.WaitingSince));
        if (outbox.IsCut)
            due = Earlier(due, AckTimeout - Elapsed(outbox.CutAt));
        due = Earlier(due, heartbeat.UntilDue(outbox.HeardAt) ?? due);
        if (!isHeld && outbox.Confirmed > 0)
            due = Earlier(due, BrokerLink.HeldAfter - Elapsed(startedAt));
        if (CanTake() && !Volatile.Read(ref isFinishing))
            due = Earlier(Earlier(due, records.UntilNextDue() ?? due), UntilNextGap() ?? due);
        return Earlier(due, states.UntilRetry() ?? due);
    }

    // With a full window, or as many reports under way as may be, it is an answer that wakes the loop.
    private TimeSpan? UntilNextGap() =>
        outbox.HasWindow && gaps.InFlight < GapFeed.InFlightMax ? gaps.UntilNextDue() : null;

    private TimeSpan Elapsed(long since) => context.Time.GetElapsedTime(since);

    private static TimeSpan Earlier(TimeSpan a, TimeSpan b) => a < b ? a : b;

    private void Subscribe()
    {
        bool mayBegin = !subscription.IsBegun && !IsRestrained && !context.IsSubscriptionMuted;
        if (mayBegin && outbox.IsEmpty && !outbox.IsCut)
            subscription.Begin(outbox.NextRequest(), ended.Token);
    }

    // Answers that came before the end count: they are looked at before anything is said to be unconfirmed.
    private async Task<LinkEnd> EndAsync()
    {
        if (!loss.HasHappened)
            await SayDisconnectAsync().ConfigureAwait(false);
        await ended.CancelAsync().ConfigureAwait(false);
        BrokerConnector.Dispose(client);
        long since = context.Time.GetTimestamp();
        Settle();
        while (!outbox.IsQuiet && Elapsed(since) < LastWordsLimit)
        {
            if (timer.Set(since, LastWordsLimit))
                await context.Signal.WaitAsync().ConfigureAwait(false);
            Settle();
        }

        await Task.WhenAll(heartbeat.WhenQuiet(), subscription.WhenQuiet()).ConfigureAwait(false);
        LinkEnd end = Evidence();
        GiveBack();
        context.Metrics.InFlight = context.Metrics.DevicesWaiting = 0;
        context.Metrics.BytesHeld = 0;
        return end;
    }

    private async Task SayDisconnectAsync()
    {
        loss.Set(LinkEvent.Finished, "the gateway said goodbye");
        try
        {
            using var limit = new CancellationTokenSource(LastWordsLimit, context.Time);
            await client.DisconnectAsync(new MqttClientDisconnectOptions(), limit.Token).ConfigureAwait(false);
        }
        catch (Exception)
        {
            // Of any type, as with publishing. It went in the same moment: everything was said and confirmed, but the
            // will may follow.
        }
    }

    private LinkEnd Evidence()
    {
        Publication? oldest = outbox.Oldest;
        bool wasSubscribing = subscription.IsOutstanding;
        bool wasAlone = !wasSubscribing && oldest?.Batch.Count is null or 0;
        for (Publication? one = oldest; one is not null && wasAlone; one = one.Next)
        {
            wasAlone = one == oldest || (one.Record is not null && one.Record == oldest!.Record);
        }

        bool isSubscription = wasSubscribing && (oldest is null || oldest.Order > subscription.Order);
        Suspect? suspect = isSubscription
            ? new Suspect(SuspectKind.Subscription, context.Topics.CommandFilter)
            : oldest?.AsSuspect();
        return new LinkEnd(loss.Event, suspect, wasAlone, outbox.Confirmed > 0)
        {
            Record = isSubscription ? null : oldest?.Record?.Handle,
        };
    }

    private void GiveBack()
    {
        records.End();
        foreach (Publication publication in outbox.Unconfirmed())
        {
            // All other states are told anew on the next link.
            if (publication.Notice is { IsForgotten: true } notice)
                context.ForgottenAgain.Enqueue(notice);
            if (publication.Answer is { } answer && !publication.IsAgain)
                context.AnswersAgain.Enqueue(answer);
        }

        context.Ledger?.Rewind();
    }

    [LoggerMessage(ForwardEvents.MessageRefused, LogLevel.Warning,
        "the broker refused a message on {Topic}: {Reason}; look at its access rules and limits")]
    private static partial void LogRefused(ILogger logger, string topic, string reason);
}
