using IotTcpGateway.Buffer;
using IotTcpGateway.Forward.Payloads;
using IotTcpGateway.Time;

namespace IotTcpGateway.Forward;

/// <summary>
/// Records on one link: taken from the buffer, made into messages, gathered into batches, and settled when the broker
/// has answered every message of them. For the session's loop alone.
/// </summary>
internal sealed class RecordFlow(ForwardContext context, Outbox outbox) : IMessageSink
{
    private const int BatchBytesMax = 64 * 1024;

    private readonly DeviceLines lines = new(context.Buffer, context.Time);
    private readonly TokenBucket drain = new(context.Time);
    private readonly Dictionary<string, Publication> batches = [];
    private readonly PublicationList batchesByAge = new();
    private readonly Queue<TakenRecord> freed = new();
    private readonly Queue<TakenRecord> alone = new();
    private readonly Stack<RecordInFlight> spare = new();
    private RecordInFlight? encoding;
    private bool encodesAlone;
    private long taken;
    private TimeSpan drainDue;
    private long drainAskedAt;

    /// <summary>Records whose messages the broker has all answered, one way or the other.</summary>
    public long Answered { get; private set; }

    /// <summary>Devices whose records the broker refuses for now.</summary>
    public int DevicesWaiting => lines.Devices;

    /// <summary>Whether messages are gathered. Raw payloads have no form for several.</summary>
    public bool IsBatching => context.Options.Batch.Messages > 1 && !context.IsRaw;

    /// <summary>Makes messages of the next record; false if there is none.</summary>
    public bool TryTake(bool mustBeAlone)
    {
        if (alone.TryDequeue(out TakenRecord again))
            return TakeAgain(again, mustBeAlone: true);
        if (lines.TryTakeDue(out TakenRecord due))
        {
            Encode(context.Buffer.Read(due.Handle), due.Order, mustBeAlone: true);
            return true;
        }

        if (freed.TryDequeue(out again))
            return TakeAgain(again, mustBeAlone);
        if (lines.IsFull || !TryTakeNext(out BufferedRecord record))
            return false;
        taken++;
        if (!lines.TryJoin(record.Stream.DeviceId, new TakenRecord(record.Handle, taken)))
            Encode(record, taken, mustBeAlone);
        return true;
    }

    /// <summary>The link is lost.</summary>
    public void End() => lines.Clear();

    /// <inheritdoc/>
    public void Message(string? channel, ReadOnlySpan<byte> payload)
    {
        string topic = context.Topics.Data(encoding!.DeviceId, channel);
        encoding.MessagesLeft++;
        if (encodesAlone)
        {
            Publication single = outbox.Rent(topic);
            single.Record = encoding;
            outbox.Append(single, payload);
            outbox.Enqueue(single);
            return;
        }

        Publication batch = BatchFor(topic, payload.Length);
        outbox.Append(batch, batch.Batch.Count == 0 ? "["u8 : ","u8);
        outbox.Append(batch, payload);
        batch.Batch.Add(encoding);
        if (batch.Batch.Count >= context.Options.Batch.Messages)
            Close(batch);
    }

    /// <summary>
    /// Closes the batches whose time has come. Without linger a batch is what could be taken while the window was full.
    /// </summary>
    public void CloseBatches(bool closeAll)
    {
        TimeSpan linger = context.Options.Batch.Linger;
        closeAll |= !outbox.HasMemory || (linger == TimeSpan.Zero && outbox.HasWindow);
        while (batchesByAge.First is { } oldest && (closeAll || IsDue(oldest, linger)))
        {
            Close(oldest);
        }
    }

    /// <summary>Time until something is due here that nothing else would wake the loop for; null for never.</summary>
    public TimeSpan? UntilNextDue()
    {
        TimeSpan? due = lines.UntilNextDue();
        if (drainDue > TimeSpan.Zero)
        {
            TimeSpan left = drainDue - context.Time.GetElapsedTime(drainAskedAt);
            due = due is null || left < due ? left : due;
        }

        TimeSpan linger = context.Options.Batch.Linger;
        if (linger == TimeSpan.Zero || batchesByAge.First is not { } oldest)
            return due;
        TimeSpan batchDue = linger - context.Time.GetElapsedTime(oldest.OpenedAt);
        return due is null || batchDue < due ? batchDue : due;
    }

    /// <summary>The broker, or the packet's size, decided on a publication with records.</summary>
    public void Settle(Publication publication, Verdict verdict, string reason)
    {
        if (publication.Record is { } record)
            Settle(record, verdict, reason);
        // Of a batch nobody knows which message was meant: each goes again by itself.
        Verdict ofBatch = verdict == Verdict.Refused ? Verdict.RetryAlone : verdict;
        foreach (RecordInFlight one in publication.Batch)
        {
            Settle(one, ofBatch, reason);
        }
    }

    // The pace of a backlog is limited so that a broker that returns is not flooded.
    private bool TryTakeNext(out BufferedRecord record)
    {
        bool isLimited = context.DrainRate > 0;
        if (isLimited && drainDue > TimeSpan.Zero)
            drainDue = context.Time.GetElapsedTime(drainAskedAt) >= drainDue ? TimeSpan.Zero : drainDue;
        if (!context.Buffer.TryTake(out record, isBacklogAllowed: !isLimited || drainDue == TimeSpan.Zero))
            return false;
        if (isLimited && record.IsSynced)
        {
            drainDue = drain.Take(context.DrainRate);
            drainAskedAt = context.Time.GetTimestamp();
        }

        return true;
    }

    private bool TakeAgain(in TakenRecord taken, bool mustBeAlone)
    {
        BufferedRecord record = context.Buffer.Read(taken.Handle);
        if (!lines.TryJoin(record.Stream.DeviceId, taken))
            Encode(record, taken.Order, mustBeAlone);
        return true;
    }

    private void Encode(in BufferedRecord record, long order, bool mustBeAlone)
    {
        if (!spare.TryPop(out encoding))
            encoding = new RecordInFlight();
        encoding.Handle = record.Handle;
        encoding.Order = order;
        encoding.IsBackfill = record.IsBackfill;
        encoding.DeviceId = record.Stream.DeviceId;
        encoding.BootId = record.Stream.BootId;
        encoding.Sequence = record.Sequence;
        encoding.Verdict = Verdict.Confirmed;
        encoding.Reason = "";
        encodesAlone = mustBeAlone || !IsBatching;
        context.Encoder.Encode(record, this);
        if (encoding.MessagesLeft == 0)
        {
            encoding.Verdict = Verdict.Refused;
            encoding.Reason = "no-payload";
            Conclude(encoding);
        }

        encoding = null;
    }

    private Publication BatchFor(string topic, int messageBytes)
    {
        if (batches.TryGetValue(topic, out Publication? batch))
        {
            // The comma before it and the bracket behind it.
            if (batch.PayloadBytes + messageBytes + 2 <= Math.Min(BatchBytesMax, outbox.PayloadBytesMax(topic)))
                return batch;
            Close(batch);
        }

        batch = outbox.Rent(topic);
        batch.OpenedAt = context.Time.GetTimestamp();
        batches.Add(topic, batch);
        batchesByAge.Add(batch);
        return batch;
    }

    private bool IsDue(Publication batch, TimeSpan linger) =>
        linger > TimeSpan.Zero && context.Time.GetElapsedTime(batch.OpenedAt) >= linger;

    private void Close(Publication batch)
    {
        batches.Remove(batch.Topic);
        batchesByAge.Remove(batch);
        outbox.Append(batch, "]"u8);
        outbox.Enqueue(batch);
    }

    private void Settle(RecordInFlight record, Verdict verdict, string reason)
    {
        if (verdict > record.Verdict)
        {
            record.Verdict = verdict;
            record.Reason = reason;
        }

        if (--record.MessagesLeft == 0)
            Conclude(record);
    }

    private void Conclude(RecordInFlight record)
    {
        Answered++;
        RecordHandle handle = record.Handle;
        string deviceId = record.DeviceId;
        switch (record.Verdict)
        {
            case Verdict.Confirmed:
                lines.Settled(deviceId, handle, isConfirmed: true, freed);
                context.Buffer.Confirm(handle);
                break;
            case Verdict.Refused:
                lines.Settled(deviceId, handle, isConfirmed: false, freed);
                context.Buffer.Refuse(handle, record.Reason);
                break;
            case Verdict.RetryAlone:
                alone.Enqueue(new TakenRecord(handle, record.Order));
                break;
            default:
                lines.Refused(deviceId, new TakenRecord(handle, record.Order));
                break;
        }

        spare.Push(record);
    }
}
