using System.Text.Json.Serialization;

namespace IotTcpGateway.Health;

/// <summary>What the gateway says of itself, on /status, the control socket and the terminal.</summary>
internal sealed record GatewayStatus
{
    public required string Gateway { get; init; }

    public required string Version { get; init; }

    public required double UptimeSeconds { get; init; }

    /// <summary>Listening, and the buffer takes frames.</summary>
    public required bool IsReady { get; init; }

    public required bool IsClockSynchronised { get; init; }

    public required IReadOnlyList<ListenerStatus> Listeners { get; init; }

    public required DevicesStatus Devices { get; init; }

    public required FramesStatus Frames { get; init; }

    public required BufferStatus Buffer { get; init; }

    public required BrokerStatus Broker { get; init; }

    public required double ResidentMebibytes { get; init; }
}

/// <summary>One listener.</summary>
internal sealed record ListenerStatus(string Name, string Endpoint);

/// <summary>Devices and connections.</summary>
internal sealed record DevicesStatus(long Connections, int Online, int Keys, bool AreKeysReadable, long AuthenticationFailures);

/// <summary>DATA frames since the start.</summary>
internal sealed record FramesStatus(long Received, long Duplicate, long Rejected, long Gaps, SafeLatency SafeLatency);

/// <summary>Time from arrival to being safe over the last minute, in ms; null where nothing became safe.</summary>
internal sealed record SafeLatency(double? P50Milliseconds, double? P99Milliseconds);

/// <summary>The buffer.</summary>
internal sealed record BufferStatus(long Records, long Dropped, long MemoryBytes, long MemoryBytesMax, bool IsFull);

/// <summary>The link to the broker.</summary>
internal sealed record BrokerStatus(
    bool IsConnected, string Address, string MqttVersion, int InFlight, long Published, long Reconnects, string LastFailure);

/// <summary>Writes the status without reflection.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(GatewayStatus))]
internal sealed partial class StatusJson : JsonSerializerContext;
