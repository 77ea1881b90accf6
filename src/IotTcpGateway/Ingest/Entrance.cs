using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Ingest;

/// <summary>Whether a device that proves no key may come in.</summary>
internal enum EntranceResult
{
    Granted,

    /// <summary>It is revoked, or has to show who it is.</summary>
    Refused,

    /// <summary>Nobody knows it, and somebody has to approve it.</summary>
    Waits,
}

/// <summary>The rule by which a device comes in without a key of its own.</summary>
internal static class Entrance
{
    /// <param name="known">What the key file says of it; null if nothing.</param>
    /// <param name="mode">None, or a certificate whose names were compared already.</param>
    /// <param name="enrols">Whether unknown devices wait for approval.</param>
    public static EntranceResult Judge(DeviceEntry? known, AuthenticationMode mode, bool enrols) => known switch
    {
        null => enrols ? EntranceResult.Waits : EntranceResult.Granted,
        { Revoked: not null } => EntranceResult.Refused,
        // Who has a key or a certificate is never taken at its word.
        { Mode: not DeviceMode.None } when mode == AuthenticationMode.None => EntranceResult.Refused,
        _ => EntranceResult.Granted,
    };

    /// <summary>How a session of this mode is told of in the key file.</summary>
    public static DeviceMode ModeOf(AuthenticationMode mode) => mode switch
    {
        AuthenticationMode.None => DeviceMode.None,
        AuthenticationMode.Certificate => DeviceMode.Certificate,
        _ => DeviceMode.Hmac,
    };
}
