using System.Buffers;

using IotTcpGateway.Buffer;

namespace IotTcpGateway.Forward;

/// <summary>What came of a record at the broker, when all its messages are answered.</summary>
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

/// <summary>A record whose messages are on their way.</summary>
internal sealed class RecordInFlight(RecordHandle handle, string deviceId)
{
    public RecordHandle Handle { get; } = handle;

    public string DeviceId { get; } = deviceId;

    public int MessagesLeft { get; set; }

    public Verdict Verdict { get; set; }

    /// <summary>The worst verdict counts.</summary>
    public void Note(Verdict verdict) => Verdict = verdict > Verdict ? verdict : Verdict;
}

/// <summary>One PUBLISH, from its payload to its PUBACK.</summary>
internal sealed class Publication
{
    private byte[]? payload;

    public Publication(string topic, ReadOnlySpan<byte> payload)
    {
        Topic = topic;
        this.payload = ArrayPool<byte>.Shared.Rent(Math.Max(payload.Length, 1));
        payload.CopyTo(this.payload);
        PayloadBytes = payload.Length;
    }

    public string Topic { get; }

    public int PayloadBytes { get; }

    public ReadOnlyMemory<byte> Payload => payload.AsMemory(0, PayloadBytes);

    public bool IsRetained { get; init; }

    /// <summary>The record of the only message; null if it is of several or of none.</summary>
    public RecordInFlight? Record { get; init; }

    /// <summary>Records of a batch; null if it is none.</summary>
    public List<RecordInFlight>? Batch { get; init; }

    /// <summary>A change of a device's retained topics that it tells of.</summary>
    public DeviceNotice? Notice { get; init; }

    /// <summary>Boot and sequence, sent as user properties with raw payloads.</summary>
    public (uint Boot, uint Sequence)? Identity { get; init; }

    public byte[]? CorrelationData { get; init; }

    public long SentAt { get; set; }

    public bool IsDone { get; set; }

    public MQTTnet.MqttClientPublishReasonCode Reason { get; set; }

    /// <summary>Why it was not answered; null if it was.</summary>
    public Exception? Failure { get; set; }

    public void ReturnPayload()
    {
        if (payload is not null)
            ArrayPool<byte>.Shared.Return(payload);
        payload = null;
    }
}
