using System.Collections.Concurrent;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Forward.Payloads;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Forward;

/// <summary>What outlives a single connection to a broker.</summary>
internal sealed class ForwardContext
{
    private const int CachedTopicsMax = 10_000;
    private readonly ConcurrentDictionary<string, string> dataTopics = new();
    private long turnedAt;

    public required MqttOptions Options { get; init; }

    public required string GatewayId { get; init; }

    public required string Version { get; init; }

    public required Topics Topics { get; init; }

    public required RecordBuffer Buffer { get; init; }

    public required DeviceBoard Board { get; init; }

    public required CommandBoard Commands { get; init; }

    public required GatewayClock Clock { get; init; }

    public required TimeProvider Time { get; init; }

    public required ForwardMetrics Metrics { get; init; }

    public required IPayloadEncoder Encoder { get; init; }

    public required LogLimit RefusalLog { get; init; }

    public required ILogger Logger { get; init; }

    /// <summary>Wakes the loop of the session of now: a record, a notice, an answer, a deadline.</summary>
    public Signal Signal { get; } = new();

    public bool IsRaw => Options.Payload == "raw";

    /// <summary>When a forwarding loop last turned.</summary>
    public long TurnedAt => Volatile.Read(ref turnedAt);

    public void Turned() => Volatile.Write(ref turnedAt, Time.GetTimestamp());

    public byte[] OnlinePayload() => StatusPayloads.Gateway(
        true, GatewayId, Version, Clock.IsSynchronised ? Clock.UnixMilliseconds : null);

    public byte[] OfflinePayload() => StatusPayloads.Gateway(false, GatewayId, Version, null);

    /// <summary>The data topic of a device, made once.</summary>
    public string DataTopic(string deviceId)
    {
        if (dataTopics.TryGetValue(deviceId, out string? topic))
            return topic;
        if (dataTopics.Count >= CachedTopicsMax)
            dataTopics.Clear();
        return dataTopics[deviceId] = Topics.Data(deviceId);
    }
}
