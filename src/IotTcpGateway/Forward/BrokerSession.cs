using System.Collections.Concurrent;
using System.Globalization;
using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Forward.Payloads;

using Microsoft.Extensions.Logging;

using MQTTnet;
using MQTTnet.Packets;
using MQTTnet.Protocol;

namespace IotTcpGateway.Forward;

/// <summary>
/// One connection to a broker: a single loop publishes within the window and settles records by what the broker answers.
/// A publish is never cancelled; when an answer is overdue, the link is dropped and everything unconfirmed goes again.
/// </summary>
internal sealed partial class BrokerSession : IMessageSink, IDisposable
{
    private const int BatchBytesMax = 64 * 1024;
    private const int OpenBatchesMax = 256;
    private const int PacketOverheadBytes = 64;
    private static readonly TimeSpan RetryFirst = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan RetryMax = TimeSpan.FromSeconds(60);

    private readonly IMqttClient client;
    private readonly ForwardContext context;
    private readonly int window;
    private readonly long packetBytesMax;
    private readonly TimeSpan pingInterval;
    private readonly bool isVersion5;
    private readonly Signal signal;
    private readonly ITimer timer;
    private readonly ConcurrentQueue<Publication> answered = new();
    private readonly Queue<Publication> sent = new();
    private readonly Queue<Publication> outgoing = new();
    private readonly Dictionary<string, OpenBatch> batches = [];
    private readonly Dictionary<string, WaitingLine> lines = [];
    private readonly Queue<RecordHandle> alone = new();
    private RecordInFlight? encoding;
    private BufferedRecordIdentity encodingIdentity;
    private bool encodesAlone;
    private int inFlight;
    private int recordsInFlight;
    private long pingedAt;
    private Task? ping;
    private string? lostBecause;
    private LinkEvent lostEvent = LinkEvent.Lost;
    private bool isFinishing;
    private bool hasSaidGoodbye;

    public BrokerSession(
        IMqttClient client, ForwardContext context, int window, long packetBytesMax, TimeSpan pingInterval, bool isVersion5)
    {
        this.client = client;
        signal = context.Signal;
        this.context = context;
        this.window = window;
        this.packetBytesMax = packetBytesMax;
        this.pingInterval = pingInterval;
        this.isVersion5 = isVersion5;
        timer = context.Time.CreateTimer(_ => signal.Set(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Messages that the broker confirmed on this link.</summary>
    public long Confirmed { get; private set; }

    /// <summary>Why the link ended, in words.</summary>
    public string LostBecause => lostBecause ?? "";

    /// <summary>The only record that was in flight when the broker closed the link; null if there were none or several.</summary>
    public RecordHandle? LostAlone { get; private set; }

    private TimeSpan AckTimeout => context.Options.AckTimeout;

    /// <summary>Says that the link is lost; called from the client's events.</summary>
    public void Lose(LinkEvent occurred, string because)
    {
        if (Interlocked.CompareExchange(ref lostBecause, because, null) is null)
            lostEvent = occurred;
        signal.Set();
    }

    /// <summary>Tells the loop to say goodbye: what is on the board, the gateway's offline status, DISCONNECT.</summary>
    public void Finish()
    {
        Volatile.Write(ref isFinishing, true);
        signal.Set();
    }

    /// <summary>Publishes until the link is lost or everything is said; returns what happened.</summary>
    public async Task<LinkEvent> RunAsync()
    {
        pingedAt = context.Time.GetTimestamp();
        outgoing.Enqueue(new Publication(context.Topics.GatewayStatus, context.OnlinePayload()) { IsRetained = true });
        _ = SubscribeAsync();
        while (true)
        {
            context.Turned();
            Settle();
            CheckDeadlines();
            if (Volatile.Read(ref lostBecause) is not null)
                break;
            Publish();
            if (hasSaidGoodbye && inFlight == 0)
                break;
            timer.Change(UntilNextDue(), Timeout.InfiniteTimeSpan);
            await signal.WaitAsync().ConfigureAwait(false);
        }

        End();
        return lostEvent;
    }

    /// <inheritdoc/>
    public void Dispose() => timer.Dispose();

    /// <inheritdoc/>
    public void Message(string? channel, ReadOnlySpan<byte> payload)
    {
        string topic = channel is null
            ? context.DataTopic(encoding!.DeviceId)
            : context.Topics.Data(encoding!.DeviceId, channel);
        encoding.MessagesLeft++;
        if (context.Options.Batch.Messages <= 1 || encodesAlone)
        {
            outgoing.Enqueue(new Publication(topic, payload)
            {
                Record = encoding,
                Identity = context.IsRaw ? (encodingIdentity.Boot, encodingIdentity.Sequence) : null,
            });
            return;
        }

        if (!batches.TryGetValue(topic, out OpenBatch? batch))
            batches.Add(topic, batch = new OpenBatch(topic, context.Time.GetTimestamp()));
        if (batch.Bytes + payload.Length > Math.Min(BatchBytesMax, packetBytesMax - PacketOverheadBytes - topic.Length)
            && batch.Records.Count > 0)
        {
            Close(batch);
            batches.Add(topic, batch = new OpenBatch(topic, context.Time.GetTimestamp()));
        }

        batch.Add(encoding, payload);
        if (batch.Records.Count >= context.Options.Batch.Messages)
            Close(batch);
    }

    private void Publish()
    {
        SendOutgoing();
        PublishNoticesAndAnswers();
        PublishWaitingLines();
        while (outgoing.Count == 0 && inFlight < window && TakeNext())
            SendOutgoing();
        CloseBatchesDue();
        SendOutgoing();
        SayGoodbye();
    }

    private bool TakeNext()
    {
        if (alone.TryDequeue(out RecordHandle handle))
        {
            BufferedRecord again = context.Buffer.Read(handle);
            if (lines.TryGetValue(again.Stream.DeviceId, out WaitingLine? held))
                held.Add(handle);
            else
                Encode(again, mustBeAlone: true);
            return true;
        }

        if (!context.Buffer.TryTake(out BufferedRecord record))
            return false;
        if (lines.TryGetValue(record.Stream.DeviceId, out WaitingLine? line))
            line.Add(record.Handle);
        else
            Encode(record, mustBeAlone: false);
        return true;
    }

    private void Encode(in BufferedRecord record, bool mustBeAlone)
    {
        encoding = new RecordInFlight(record.Handle, record.Stream.DeviceId);
        encodingIdentity = new BufferedRecordIdentity(record.Stream.BootId, record.Sequence);
        encodesAlone = mustBeAlone;
        recordsInFlight++;
        int messages = context.Encoder.Encode(record, this);
        if (messages == 0)
        {
            encoding.Note(Verdict.Refused);
            Conclude(encoding);
        }

        encoding = null;
    }

    private void Close(OpenBatch batch)
    {
        batches.Remove(batch.Topic);
        outgoing.Enqueue(batch.Close());
    }

    // Without linger a batch is what could be taken at once; with it, it waits to become full.
    private void CloseBatchesDue()
    {
        if (batches.Count == 0)
            return;
        TimeSpan linger = context.Options.Batch.Linger;
        foreach (OpenBatch batch in batches.Values.ToList())
        {
            bool isDue = linger == TimeSpan.Zero || batches.Count > OpenBatchesMax || Volatile.Read(ref isFinishing)
                || context.Time.GetElapsedTime(batch.OpenedAt) >= linger;
            if (isDue)
                Close(batch);
        }
    }

    private void SendOutgoing()
    {
        while (inFlight < window && outgoing.TryDequeue(out Publication? publication))
        {
            if (publication.PayloadBytes + publication.Topic.Length + PacketOverheadBytes > packetBytesMax)
            {
                publication.Reason = MqttClientPublishReasonCode.UnspecifiedError;
                Answered(publication, Verdict.Refused, "too-large");
                continue;
            }

            inFlight++;
            publication.SentAt = context.Time.GetTimestamp();
            sent.Enqueue(publication);
            _ = SendAsync(publication);
        }

        context.Metrics.InFlight = inFlight;
    }

    // Owned by the loop: whatever comes of it is queued for Settle.
    private async Task SendAsync(Publication publication)
    {
        try
        {
            MqttClientPublishResult result = await client.PublishAsync(MessageOf(publication)).ConfigureAwait(false);
            publication.Reason = result.ReasonCode;
        }
        catch (Exception e)
        {
            // The client throws many types when the link goes; none is the message's fault. Settle looks at it.
            publication.Failure = e;
        }

        answered.Enqueue(publication);
        signal.Set();
    }

    private MqttApplicationMessage MessageOf(Publication publication)
    {
        var message = new MqttApplicationMessage
        {
            Topic = publication.Topic,
            Payload = new System.Buffers.ReadOnlySequence<byte>(publication.Payload),
            Retain = publication.IsRetained,
            QualityOfServiceLevel = context.Options.Qos == 0 && publication.Notice is null && !publication.IsRetained
                ? MqttQualityOfServiceLevel.AtMostOnce
                : MqttQualityOfServiceLevel.AtLeastOnce,
        };
        if (!isVersion5)
            return message;
        message.CorrelationData = publication.CorrelationData;
        if (publication.Identity is { } identity)
            message.UserProperties = [PropertyOf("boot", identity.Boot), PropertyOf("seq", identity.Sequence)];
        return message;
    }

    private static MqttUserProperty PropertyOf(string name, uint value) =>
        new(name, Encoding.ASCII.GetBytes(value.ToString(CultureInfo.InvariantCulture)));

    private void Settle()
    {
        while (answered.TryDequeue(out Publication? publication))
        {
            inFlight--;
            if (publication.Failure is not null)
            {
                Lose(LinkEvent.Lost, publication.Failure.GetBaseException().Message);
                continue;
            }

            publication.IsDone = true;
            (Verdict verdict, string reason) = VerdictOf(publication.Reason);
            Answered(publication, verdict, reason);
        }

        while (sent.TryPeek(out Publication? oldest) && oldest.IsDone)
            sent.Dequeue();
        context.Metrics.InFlight = inFlight;
    }

    private static (Verdict Verdict, string Reason) VerdictOf(MqttClientPublishReasonCode reason) => reason switch
    {
        MqttClientPublishReasonCode.Success or MqttClientPublishReasonCode.NoMatchingSubscribers => (Verdict.Confirmed, ""),
        MqttClientPublishReasonCode.TopicNameInvalid => (Verdict.Refused, "topic-name-invalid"),
        MqttClientPublishReasonCode.PayloadFormatInvalid => (Verdict.Refused, "payload-format-invalid"),
        MqttClientPublishReasonCode.NotAuthorized => (Verdict.RetryLater, "not-authorized"),
        MqttClientPublishReasonCode.QuotaExceeded => (Verdict.RetryLater, "quota-exceeded"),
        MqttClientPublishReasonCode.ImplementationSpecificError => (Verdict.RetryLater, "implementation-specific"),
        _ => (Verdict.RetryLater, "unspecified"),
    };

    private void Answered(Publication publication, Verdict verdict, string reason)
    {
        publication.IsDone = true;
        publication.ReturnPayload();
        if (verdict == Verdict.Confirmed)
        {
            Confirmed++;
            context.Metrics.MessageConfirmed();
        }
        else
        {
            context.Metrics.MessageRefused(reason);
            if (context.RefusalLog.Passes())
                LogRefused(context.Logger, publication.Topic, reason, verdict == Verdict.Refused);
        }

        if (publication.Record is { } record)
            Answered(record, verdict);
        // Of a batch nobody knows which message was meant: each goes again by itself.
        Verdict ofBatch = verdict == Verdict.Refused ? Verdict.RetryAlone : verdict;
        foreach (RecordInFlight one in publication.Batch ?? [])
            Answered(one, ofBatch);
    }

    private void Answered(RecordInFlight record, Verdict verdict)
    {
        record.Note(verdict);
        if (--record.MessagesLeft == 0)
            Conclude(record);
    }

    private void Conclude(RecordInFlight record)
    {
        recordsInFlight--;
        switch (record.Verdict)
        {
            case Verdict.Confirmed:
                if (lines.Remove(record.DeviceId, out WaitingLine? freed))
                    Release(freed);
                context.Buffer.Confirm(record.Handle);
                break;
            case Verdict.Refused:
                context.Buffer.Drop(record.Handle, DropReason.Refused);
                if (lines.TryGetValue(record.DeviceId, out WaitingLine? waiting) && waiting.Records.Count > 0)
                    waiting.TryNow(context.Time.GetTimestamp());
                else
                    lines.Remove(record.DeviceId);
                break;
            case Verdict.RetryAlone:
                alone.Enqueue(record.Handle);
                break;
            default:
                Wait(record);
                break;
        }
    }

    private void Wait(RecordInFlight record)
    {
        if (!lines.TryGetValue(record.DeviceId, out WaitingLine? line))
            lines.Add(record.DeviceId, line = new WaitingLine());
        line.Add(record.Handle);
        line.IsTrying = false;
        line.Wait = line.Wait == TimeSpan.Zero ? RetryFirst : TimeSpan.FromTicks(Math.Min(line.Wait.Ticks * 2, RetryMax.Ticks));
        line.RetryAt = context.Time.GetTimestamp() + (long)(line.Wait.TotalSeconds * context.Time.TimestampFrequency);
    }

    // The broker takes the device's messages again: the rest of its line follows in order.
    private void Release(WaitingLine line)
    {
        while (line.Records.TryDequeue(out RecordHandle handle, out _))
            alone.Enqueue(handle);
    }

    private void PublishWaitingLines()
    {
        if (lines.Count == 0)
            return;
        long now = context.Time.GetTimestamp();
        foreach (WaitingLine line in lines.Values.ToList())
        {
            if (line.IsTrying || now < line.RetryAt || inFlight >= window || line.Records.Count == 0)
                continue;
            line.IsTrying = true;
            Encode(context.Buffer.Read(line.Records.Dequeue()), mustBeAlone: true);
            SendOutgoing();
        }
    }

    private void PublishNoticesAndAnswers()
    {
        while (outgoing.Count == 0 && inFlight < window && context.Board.TryTake(out DeviceNotice notice))
        {
            DeviceState state = notice.State;
            if (notice.StatusChanged)
                Queue(context.Topics.Status(state.DeviceId), StatusPayloads.DeviceStatus(state), notice);
            if (notice.MetaChanged)
                Queue(context.Topics.Meta(state.DeviceId), StatusPayloads.DeviceMeta(state), notice);
            SendOutgoing();
        }

        while (outgoing.Count == 0 && inFlight < window && context.Commands.Answers.TryRead(out CommandAnswer? answer))
        {
            CommandRequest request = answer.Request;
            string topic = request.ResponseTopic ?? context.Topics.Result(request.DeviceId, request.Name);
            outgoing.Enqueue(new Publication(topic, StatusPayloads.CommandResult(answer))
            {
                CorrelationData = request.CorrelationData,
            });
            SendOutgoing();
        }
    }

    private void Queue(string topic, byte[] payload, DeviceNotice notice) =>
        outgoing.Enqueue(new Publication(topic, payload) { IsRetained = true, Notice = notice });

    private void SayGoodbye()
    {
        if (hasSaidGoodbye || !Volatile.Read(ref isFinishing) || outgoing.Count > 0 || inFlight >= window)
            return;
        hasSaidGoodbye = true;
        outgoing.Enqueue(new Publication(context.Topics.GatewayStatus, context.OfflinePayload()) { IsRetained = true });
        SendOutgoing();
    }

    private void CheckDeadlines()
    {
        if (sent.TryPeek(out Publication? oldest) && context.Time.GetElapsedTime(oldest.SentAt) > AckTimeout)
            Lose(LinkEvent.Lost, $"no PUBACK for {AckTimeout.TotalSeconds:0.#} s");
        TimeSpan sincePing = context.Time.GetElapsedTime(pingedAt);
        if (ping is { IsCompleted: false })
        {
            if (sincePing > AckTimeout)
                Lose(LinkEvent.Lost, $"no PINGRESP for {AckTimeout.TotalSeconds:0.#} s");
            return;
        }

        if (sincePing < pingInterval)
            return;
        pingedAt = context.Time.GetTimestamp();
        ping = PingAsync();
    }

    private async Task PingAsync()
    {
        try
        {
            await client.PingAsync().ConfigureAwait(false);
        }
        catch (Exception e)
        {
            // As with publishing: the client throws many types when the link goes.
            Lose(LinkEvent.Lost, e.GetBaseException().Message);
        }
    }

    private async Task SubscribeAsync()
    {
        try
        {
            MqttClientSubscribeResult result = await client.SubscribeAsync(new MqttClientSubscribeOptionsBuilder()
                .WithTopicFilter(context.Topics.CommandFilter, MqttQualityOfServiceLevel.AtLeastOnce)
                .Build()).ConfigureAwait(false);
            foreach (MqttClientSubscribeResultItem item in result.Items)
            {
                if (item.ResultCode > MqttClientSubscribeResultCode.GrantedQoS2)
                    LogNoCommands(context.Logger, context.Topics.CommandFilter, item.ResultCode);
            }
        }
        catch (Exception e)
        {
            Lose(LinkEvent.Lost, e.GetBaseException().Message);
        }
    }

    private TimeSpan UntilNextDue()
    {
        TimeSpan due = Until(pingedAt, ping is { IsCompleted: false } ? AckTimeout : pingInterval);
        if (sent.TryPeek(out Publication? oldest))
            due = Earlier(due, Until(oldest.SentAt, AckTimeout));
        foreach (OpenBatch batch in batches.Values)
            due = Earlier(due, Until(batch.OpenedAt, context.Options.Batch.Linger));
        foreach (WaitingLine line in lines.Values)
        {
            if (!line.IsTrying)
                due = Earlier(due, Until(line.RetryAt, TimeSpan.Zero));
        }

        // The watchdog wants to see the loop turn.
        due = Earlier(due, TimeSpan.FromSeconds(2));
        return due < TimeSpan.FromMilliseconds(1) ? TimeSpan.FromMilliseconds(1) : due;
    }

    private TimeSpan Until(long since, TimeSpan after) => after - context.Time.GetElapsedTime(since);

    private static TimeSpan Earlier(TimeSpan a, TimeSpan b) => a < b ? a : b;

    private void End()
    {
        LostAlone = recordsInFlight == 1 && lostEvent == LinkEvent.Lost
            ? sent.FirstOrDefault(p => !p.IsDone && p.Record is not null)?.Record?.Handle
            : null;
        foreach (Publication publication in sent.Concat(outgoing))
        {
            if (!publication.IsDone && publication.Notice is { } notice)
                context.Board.Return(notice);
        }

        context.Metrics.InFlight = 0;
    }

    [LoggerMessage(1401, LogLevel.Warning,
        "the broker refused a message on {Topic}: {Reason} (given up: {IsGivenUp}); look at the broker's access rules and limits")]
    private static partial void LogRefused(ILogger logger, string topic, string reason, bool isGivenUp);

    [LoggerMessage(1402, LogLevel.Warning,
        "the broker does not let the gateway subscribe {Filter} ({Code}): commands will not arrive")]
    private static partial void LogNoCommands(ILogger logger, string filter, MqttClientSubscribeResultCode code);

    private readonly record struct BufferedRecordIdentity(uint Boot, uint Sequence);

    /// <summary>Records of a device whose messages the broker refuses for now, in order.</summary>
    private sealed class WaitingLine
    {
        public PriorityQueue<RecordHandle, long> Records { get; } = new();

        public TimeSpan Wait { get; set; }

        public long RetryAt { get; set; }

        public bool IsTrying { get; set; }

        public void Add(RecordHandle handle) => Records.Enqueue(handle, handle.Value);

        public void TryNow(long now)
        {
            RetryAt = now;
            IsTrying = false;
        }
    }
}
