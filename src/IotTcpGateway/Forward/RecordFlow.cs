using IotTcpGateway.Buffer;
using IotTcpGateway.Forward.Payloads;

namespace IotTcpGateway.Forward;

/// <summary>
/// Records on one link: taken from the buffer, made into messages, gathered into batches, and settled when the broker
/// has answered every message of them. For the session's loop alone.
/// </summary>
internal sealed class RecordFlow(ForwardContext context, Outbox outbox) : IMessageSink
{
    private const int BatchBytesMax = 64 * 1024;

    private readonly DeviceLines lines = new(context.Time);
    private readonly Dictionary<string, Publication> batches = [];
    private readonly PublicationList batchesByAge = new();
    private readonly Queue<RecordHandle> freed = new();
    private readonly Queue<RecordHandle> alone = new();
    private readonly Stack<RecordInFlight> spare = new();
    private RecordInFlight? encoding;
    private bool encodesAlone;

    /// <summary>Records whose messages the broker has all answered, one way or the other.</summary>
    public long Answered { get; private set; }

    /// <summary>Devices whose records the broker refuses for now.</summary>
    public int DevicesWaiting => lines.Devices;

    /// <summary>Whether messages are gathered. Raw payloads have no form for several.</summary>
    public bool IsBatching => context.Options.Batch.Messages > 1 && !context.IsRaw;

    /// <summary>Makes messages of the next record; false if there is none.</summary>
    public bool TryTake(bool mustBeAlone)
    {
        if (alone.TryDequeue(out RecordHandle handle))
            return TakeAgain(handle, mustBeAlone: true);
        if (lines.TryTakeDue(out handle))
        {
            Encode(context.Buffer.Read(handle), mustBeAlone: true);
            return true;
        }

        if (freed.TryDequeue(out handle))
            return TakeAgain(handle, mustBeAlone);
        if (lines.IsFull || !context.Buffer.TryTake(out BufferedRecord record))
            return false;
        if (!lines.TryJoin(record.Stream.DeviceId, record.Handle))
            Encode(record, mustBeAlone);
        return true;
    }

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

    private bool TakeAgain(RecordHandle handle, bool mustBeAlone)
    {
        BufferedRecord record = context.Buffer.Read(handle);
        if (!lines.TryJoin(record.Stream.DeviceId, handle))
            Encode(record, mustBeAlone);
        return true;
    }

    private void Encode(in BufferedRecord record, bool mustBeAlone)
    {
        if (!spare.TryPop(out encoding))
            encoding = new RecordInFlight();
        encoding.Handle = record.Handle;
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
                alone.Enqueue(handle);
                break;
            default:
                lines.Refused(deviceId, handle);
                break;
        }

        spare.Push(record);
    }
}
