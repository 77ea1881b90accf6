using System.Buffers;
using System.Runtime.CompilerServices;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;

using MQTTnet;

namespace IotTcpGateway.Forward;

/// <summary>What came of a message or a record at the broker; the worst of a record's messages counts.</summary>
internal enum Verdict
{
    Confirmed,

    /// <summary>Refused for now: its device's line waits and tries again.</summary>
    RetryLater,

    /// <summary>A batch that it was in was refused: it is sent again by itself.</summary>
    RetryAlone,

    /// <summary>Refused for good.</summary>
    Refused,
}

/// <summary>A record whose messages are on their way. Used again and again.</summary>
internal sealed class RecordInFlight
{
    public RecordHandle Handle { get; set; }

    public string DeviceId { get; set; } = "";

    public uint BootId { get; set; }

    public uint Sequence { get; set; }

    public int MessagesLeft { get; set; }

    public Verdict Verdict { get; set; }

    /// <summary>Grows with each record that is taken from the buffer.</summary>
    public long Order { get; set; }

    /// <summary>Whether newer records went before it.</summary>
    public bool IsBackfill { get; set; }

    /// <summary>Why it was refused.</summary>
    public string Reason { get; set; } = "";

    public Suspect AsSuspect() => new(SuspectKind.Record, $"{DeviceId}, boot {BootId}, sequence {Sequence}");
}

/// <summary>One PUBLISH, from the first byte of its payload to its PUBACK. Used again and again.</summary>
internal sealed class Publication
{
    /// <summary>
    /// What a pending publish takes beside its payload, here and in the MQTT client: so a window of small messages is
    /// bounded in bytes too.
    /// </summary>
    public const int OverheadBytes = 1024;

    private readonly Action<Publication> answered;
    private readonly Action onAnswered;
    private byte[] payload = [];

    public Publication(Action<Publication> answered)
    {
        this.answered = answered;
        onAnswered = () => this.answered(this);
    }

    public string Topic { get; set; } = "";

    public int PayloadBytes { get; private set; }

    public ReadOnlyMemory<byte> Payload => payload.AsMemory(0, PayloadBytes);

    public int HeldBytes => PayloadBytes + OverheadBytes;

    public bool IsRetained { get; set; }

    /// <summary>The record of the only message; null if it is of several or of none.</summary>
    public RecordInFlight? Record { get; set; }

    /// <summary>Records of the batch; empty if it is none.</summary>
    public List<RecordInFlight> Batch { get; } = [];

    /// <summary>When the batch was begun.</summary>
    public long OpenedAt { get; set; }

    /// <summary>A change of a device's retained topics that it tells of.</summary>
    public DeviceNotice? Notice { get; set; }

    /// <summary>The answer to a command that it brings.</summary>
    public CommandAnswer? Answer { get; set; }

    /// <summary>Whether the answer was sent on an earlier link.</summary>
    public bool IsAgain { get; set; }

    /// <summary>The gap that it tells of.</summary>
    public GapReport? Gap { get; set; }

    /// <summary>Number of the request on its link.</summary>
    public long Order { get; set; }

    /// <summary>When the wait for its PUBACK began.</summary>
    public long WaitingSince { get; set; }

    public Publication? Previous { get; set; }

    public Publication? Next { get; set; }

    /// <summary>The MQTT client's word; set once it was sent.</summary>
    public Task<MqttClientPublishResult>? Result { get; private set; }

    public void Append(ReadOnlySpan<byte> bytes)
    {
        if (PayloadBytes + bytes.Length > payload.Length)
        {
            byte[] longer = ArrayPool<byte>.Shared.Rent(Math.Max((PayloadBytes + bytes.Length) * 2, 256));
            Payload.Span.CopyTo(longer);
            if (payload.Length > 0)
                ArrayPool<byte>.Shared.Return(payload);
            payload = longer;
        }

        bytes.CopyTo(payload.AsSpan(PayloadBytes));
        PayloadBytes += bytes.Length;
    }

    /// <summary>Has the answer handed over when it comes, on whatever thread.</summary>
    public void Await(Task<MqttClientPublishResult> result)
    {
        Result = result;
        ConfiguredTaskAwaitable<MqttClientPublishResult>.ConfiguredTaskAwaiter awaiter =
            result.ConfigureAwait(false).GetAwaiter();
        if (awaiter.IsCompleted)
            answered(this);
        else
            awaiter.UnsafeOnCompleted(onAnswered);
    }

    public Suspect AsSuspect() => this switch
    {
        { Record: { } record } => record.AsSuspect(),
        { Batch.Count: > 0 } => Batch[0].AsSuspect(),
        { Answer: not null } => new Suspect(SuspectKind.Answer, Topic),
        _ => new Suspect(SuspectKind.State, Topic),
    };

    public void Clear()
    {
        if (payload.Length > 0)
            ArrayPool<byte>.Shared.Return(payload);
        payload = [];
        PayloadBytes = 0;
        Topic = "";
        IsRetained = false;
        Record = null;
        Batch.Clear();
        Notice = null;
        Answer = null;
        IsAgain = false;
        Gap = null;
        Previous = Next = null;
        Result = null;
    }
}
