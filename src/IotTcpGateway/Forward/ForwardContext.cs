using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Forward.Payloads;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Forward;

/// <summary>What outlives a single connection to a broker.</summary>
internal sealed class ForwardContext
{
    private long turnedAt;

    public required MqttOptions Options { get; init; }

    public required string GatewayId { get; init; }

    public required string Version { get; init; }

    public required Topics Topics { get; init; }

    public required RecordBuffer Buffer { get; init; }

    public required DeviceBoard Board { get; init; }

    public required CommandBoard Commands { get; init; }

    /// <summary>What was given up and is to be told; null for none.</summary>
    public DropLedger? Ledger { get; init; }

    public required GatewayClock Clock { get; init; }

    public required TimeProvider Time { get; init; }

    public required ForwardMetrics Metrics { get; init; }

    public required IPayloadEncoder Encoder { get; init; }

    public required LogLimit RefusalLog { get; init; }

    public required ILogger Logger { get; init; }

    /// <summary>Wakes the loop of the session of now: a record, a notice, an answer, a deadline.</summary>
    public Signal Signal { get; } = new();

    /// <summary>
    /// Retained topics that brought the broker to close the link; told again only when they change. For the loop alone.
    /// </summary>
    public HashSet<string> MutedTopics { get; } = [];

    /// <summary>
    /// Devices that were forgotten, of which the last link did not see that confirmed. For the loop alone.
    /// </summary>
    public Queue<DeviceNotice> ForgottenAgain { get; } = new();

    /// <summary>
    /// Set when the subscription for commands brought the broker to close the link. For the loop alone.
    /// </summary>
    public bool IsSubscriptionMuted { get; set; }

    /// <summary>
    /// Answers that the last link did not see confirmed: they are sent once more. For the loop alone.
    /// </summary>
    public Queue<CommandAnswer> AnswersAgain { get; } = new();

    /// <summary>Most records of a backlog a second; 0 for no limit.</summary>
    public int DrainRate { get; init; }

    public bool IsRaw => Options.Payload == "raw";

    /// <summary>When a forwarding loop last turned.</summary>
    public long TurnedAt => Volatile.Read(ref turnedAt);

    public void Turned() => Volatile.Write(ref turnedAt, Time.GetTimestamp());

    /// <summary>The state of the buffer's disk.</summary>
    public Func<DiskStatus> Disk { get; init; } = () => DiskStatus.Off;

    public byte[] OnlinePayload(DiskStatus disk) => StatusPayloads.Gateway(
        true, GatewayId, Version, Clock.IsSynchronised ? Clock.UnixMilliseconds : null, disk);

    public byte[] OfflinePayload() => StatusPayloads.Gateway(false, GatewayId, Version, null);
}
