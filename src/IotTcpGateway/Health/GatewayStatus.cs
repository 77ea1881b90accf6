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

/// <summary>The buffer, what it has on disk, and what it gave up last.</summary>
internal sealed record BufferStatus(
    long Records,
    long Dropped,
    long MemoryBytes,
    long MemoryBytesMax,
    bool IsFull,
    BufferDiskStatus Disk,
    IReadOnlyList<GapStatus> Gaps);

/// <summary>The buffer's disk.</summary>
/// <param name="State">"healthy", "full", "failed", "off".</param>
/// <param name="Error">What it refused last; empty when it is healthy.</param>
/// <param name="Records">Frames on disk that the broker has not confirmed.</param>
/// <param name="Bytes">Bytes of the files that hold frames.</param>
/// <param name="BytesMax">Most of these.</param>
/// <param name="IsSpilling">Whether frames go to disk now.</param>
/// <param name="WrittenBytes">Bytes that the buffer gave to the disk since the start.</param>
/// <param name="DeviceBytes">Bytes that reached the device for this process, as the kernel counts; null if it does not.</param>
/// <param name="DeviceBytesPerDay">The same a day, at the rate since the start.</param>
/// <param name="SecondsUntilFull">At the present rate; null while it does not fill.</param>
/// <param name="LastSyncMilliseconds">How long the last sync took.</param>
/// <param name="Quarantined">Frames put into quarantine since the start.</param>
/// <param name="Lost">Frames that could not be read back.</param>
internal sealed record BufferDiskStatus(
    string State,
    string Error,
    long Records,
    long Bytes,
    long BytesMax,
    bool IsSpilling,
    long WrittenBytes,
    long? DeviceBytes,
    long? DeviceBytesPerDay,
    double? SecondsUntilFull,
    double LastSyncMilliseconds,
    long Quarantined,
    long Lost)
{
    /// <summary>What is the matter, to be put behind a line; empty when nothing is.</summary>
    [JsonIgnore]
    public string Trouble => State is "full" or "failed" ? $"; the buffer's disk is {State} ({Error})" : "";
}

/// <summary>Frames that were given up.</summary>
internal sealed record GapStatus(
    string Device, uint Boot, uint From, uint To, long Count, string Reason, long UnixMilliseconds);

/// <summary>The link to the broker.</summary>
internal sealed record BrokerStatus(
    bool IsConnected, string Address, string MqttVersion, int InFlight, long Published, long Reconnects, string LastFailure);

/// <summary>Writes the status without reflection.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(GatewayStatus))]
internal sealed partial class StatusJson : JsonSerializerContext;
