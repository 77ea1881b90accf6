using System.Buffers;
using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

using IotTcpGateway.Escaping;

using MQTTnet;
using MQTTnet.Packets;
using MQTTnet.Protocol;

namespace IotTcpGateway.Forward;

/// <summary>
/// What is to be sent and what the broker has not confirmed, on one link, bounded in messages and in bytes. For the
/// session's loop alone, but for the answers that come in. Nothing that was handed to the MQTT client is ever
/// cancelled: a publish cut off in mid-write would spoil the stream.
/// </summary>
internal sealed class Outbox(IMqttClient client, ForwardContext context, BrokerTerms terms, LinkLoss loss)
{
    // Fixed header, packet id, lengths, and the three user properties of a raw payload.
    private const int PacketOverheadBytes = 96;

    private readonly ConcurrentQueue<Publication> answered = new();
    private readonly Queue<Publication> outgoing = new();
    private readonly Stack<Publication> spare = new();
    private readonly MqttApplicationMessage message = new();
    private readonly PublicationList inFlight = new();
    private int unheard;

    /// <summary>Messages that may be unconfirmed now.</summary>
    public int Window { get; set; } = terms.Window;

    /// <summary>Messages sent and not confirmed.</summary>
    public int InFlight => inFlight.Count;

    /// <summary>Bytes of what is in flight, goes next, or is being gathered.</summary>
    public long BytesHeld { get; private set; }

    /// <summary>Messages that the broker confirmed on this link.</summary>
    public long Confirmed { get; private set; }

    /// <summary>The request that has waited longest for its answer.</summary>
    public Publication? Oldest => inFlight.First;

    /// <summary>When the broker last answered anything.</summary>
    public long HeardAt { get; private set; }

    /// <summary>How many requests were made on this link.</summary>
    public long Requests { get; private set; }

    /// <summary>
    /// Why the client took nothing more; null while it does. Why the link went is told by others, soon.
    /// </summary>
    public string? CutBecause { get; private set; }

    /// <summary>When that was.</summary>
    public long CutAt { get; private set; }

    public bool IsCut => CutBecause is not null;

    public bool IsEmpty => outgoing.Count == 0;

    public bool HasWindow => InFlight < Window;

    public bool HasMemory => BytesHeld < context.Options.InFlightMemory;

    /// <summary>Whether answers wait to be looked at.</summary>
    public bool HasAnswers => !answered.IsEmpty;

    /// <summary>Whether the MQTT client owes nothing more.</summary>
    public bool IsQuiet => unheard == 0;

    public Publication Rent(string topic)
    {
        if (!spare.TryPop(out Publication? publication))
        {
            publication = new Publication(p =>
            {
                answered.Enqueue(p);
                context.Signal.Set();
            });
        }

        publication.Topic = topic;
        BytesHeld += Publication.OverheadBytes;
        return publication;
    }

    public void Append(Publication publication, ReadOnlySpan<byte> bytes)
    {
        publication.Append(bytes);
        BytesHeld += bytes.Length;
    }

    public void Enqueue(Publication publication) => outgoing.Enqueue(publication);

    public long NextRequest() => ++Requests;

    /// <summary>
    /// Sends what the window allows; returns a publication that no broker could take, to be settled, if there is one.
    /// </summary>
    public Publication? Send()
    {
        while (!IsCut && HasWindow && outgoing.TryDequeue(out Publication? publication))
        {
            if (PacketBytesOf(publication) > terms.PacketBytesMax)
                return publication;
            Send(publication);
        }

        return null;
    }

    /// <summary>
    /// The next answer; false if there is none now. A failed publish stays unconfirmed and ends the link.
    /// </summary>
    public bool TryTakeAnswer([NotNullWhen(true)] out Publication? publication, out int code)
    {
        while (answered.TryDequeue(out publication))
        {
            unheard--;
            if (publication.Result!.IsCompletedSuccessfully)
            {
                code = (int)publication.Result.Result.ReasonCode;
                Remove(publication);
                return true;
            }

            loss.Set(BrokerReasons.OfFailure(publication.Result.Exception?.InnerException));
        }

        code = 0;
        return false;
    }

    /// <summary>Ends the life of a publication that was answered.</summary>
    public void Done(Publication publication, Verdict verdict)
    {
        if (verdict == Verdict.Confirmed)
        {
            Confirmed++;
            context.Metrics.MessageConfirmed();
        }

        BytesHeld -= publication.HeldBytes;
        publication.Clear();
        spare.Push(publication);
    }

    /// <summary>What was not confirmed, oldest first.</summary>
    public IEnumerable<Publication> Unconfirmed()
    {
        for (Publication? publication = Oldest; publication is not null; publication = publication.Next)
        {
            yield return publication;
        }

        foreach (Publication publication in outgoing)
        {
            yield return publication;
        }
    }

    /// <summary>Largest payload that still fits into one packet on this topic.</summary>
    public long PayloadBytesMax(string topic) =>
        terms.PacketBytesMax - PacketOverheadBytes - Encoding.UTF8.GetByteCount(topic);

    private void Send(Publication publication)
    {
        Fill(publication);
        Task<MqttClientPublishResult> result;
        try
        {
            result = client.PublishAsync(message);
        }
        catch (Exception e)
        {
            // MQTTnet takes itself apart without a lock when the link goes: what is called meanwhile throws anything,
            // even NullReferenceException. It never was on its way.
            CutBecause = SafeText.Clean(e.Message);
            CutAt = context.Time.GetTimestamp();
            outgoing.Enqueue(publication);
            return;
        }

        publication.Order = NextRequest();
        publication.WaitingSince = context.Time.GetTimestamp();
        inFlight.Add(publication);
        unheard++;
        publication.Await(result);
    }

    // One message for all: the client takes from it what it needs before it returns.
    private void Fill(Publication publication)
    {
        message.Topic = publication.Topic;
        message.Payload = new ReadOnlySequence<byte>(publication.Payload);
        message.Retain = publication.IsRetained;
        // QoS 0 is for records: states, answers and gaps are told for certain.
        bool isOfRecords = !publication.IsRetained && publication.Answer is null && publication.Gap is null;
        message.QualityOfServiceLevel = context.Options.Qos == 0 && isOfRecords
            ? MqttQualityOfServiceLevel.AtMostOnce
            : MqttQualityOfServiceLevel.AtLeastOnce;
        if (!terms.IsVersion5)
            return;
        message.CorrelationData = publication.Answer?.Request.CorrelationData;
        message.UserProperties = context.IsRaw && publication.Record is { } record
            ? PropertiesOf(record)
            : null;
    }

    private static List<MqttUserProperty> PropertiesOf(RecordInFlight record)
    {
        List<MqttUserProperty> properties = [PropertyOf("boot", record.BootId), PropertyOf("seq", record.Sequence)];
        if (record.IsBackfill)
            properties.Add(new MqttUserProperty("backfill", "true"u8.ToArray()));
        return properties;
    }

    private static MqttUserProperty PropertyOf(string name, uint value) =>
        new(name, Encoding.ASCII.GetBytes(value.ToString(CultureInfo.InvariantCulture)));

    private static long PacketBytesOf(Publication publication) =>
        PacketOverheadBytes + Encoding.UTF8.GetByteCount(publication.Topic) + publication.PayloadBytes
        + (publication.Answer?.Request.CorrelationData?.Length ?? 0);

    private void Remove(Publication publication)
    {
        HeardAt = context.Time.GetTimestamp();
        bool wasOldest = ReferenceEquals(Oldest, publication);
        inFlight.Remove(publication);
        // The next one's turn begins now: on a slow line what was sent long ago may only just have gone out.
        if (wasOldest && Oldest is { } next)
            next.WaitingSince = HeardAt;
    }
}
