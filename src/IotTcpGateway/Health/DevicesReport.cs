using System.Text.Json.Serialization;

namespace IotTcpGateway.Health;

/// <summary>What a running gateway knows of its devices, on the control socket.</summary>
internal sealed record DevicesReport(IReadOnlyList<SeenDevice> Devices, IReadOnlyList<WaitingDevice> Waiting);

/// <summary>A device that came since the gateway started.</summary>
/// <param name="Id">Its id.</param>
/// <param name="IsOnline">Whether it has a session now.</param>
/// <param name="Authentication">"hmac", "certificate", "none": how it came last.</param>
/// <param name="Address">Whence it came last.</param>
/// <param name="Firmware">What it says of itself, escaped.</param>
/// <param name="SeenSecondsAgo">Since its last frame or its end; 0 while it is online.</param>
internal sealed record SeenDevice(
    string Id, bool IsOnline, string Authentication, string Address, string Firmware, double SeenSecondsAgo);

/// <summary>A device that waits for "iotgw device approve".</summary>
/// <param name="Id">Its id.</param>
/// <param name="Authentication">"certificate" if it showed a right one, else "none".</param>
/// <param name="Address">Whence it came last.</param>
/// <param name="Firmware">What it says of itself, escaped.</param>
/// <param name="Times">How often it asked.</param>
/// <param name="SeenSecondsAgo">Since it asked last.</param>
internal sealed record WaitingDevice(
    string Id, string Authentication, string Address, string Firmware, int Times, double SeenSecondsAgo);

/// <summary>Writes the report without reflection.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(DevicesReport))]
internal sealed partial class DevicesJson : JsonSerializerContext;
