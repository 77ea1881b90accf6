using IotTcpGateway.DeviceClient;

namespace IotTcpGateway.Demo;

/// <summary>What a fleet of simulated devices does.</summary>
internal sealed record FleetOptions
{
    public required string Host { get; init; }

    public required int Port { get; init; }

    /// <summary>Ids are this and a number from 1.</summary>
    public string IdPrefix { get; init; } = "sim-";

    public int Devices { get; init; } = 10;

    /// <summary>Frames a second of each device; 0 for as many as are acknowledged.</summary>
    public double Rate { get; init; } = 1;

    /// <summary>Frames of each device; null for as many as time allows.</summary>
    public long? Frames { get; init; }

    /// <summary>Values in a frame.</summary>
    public int Values { get; init; } = 4;

    /// <summary>Devices that begin to connect in a second.</summary>
    public int ConnectsPerSecond { get; init; } = 100;

    /// <summary>About how often each device breaks its connection; null for never.</summary>
    public TimeSpan? BreakEvery { get; init; }

    public bool Tagged { get; init; }

    public DeviceTlsOptions? Tls { get; init; }

    /// <summary>The key of a device; null for authentication "none".</summary>
    public Func<string, byte[]?> KeyOf { get; init; } = _ => null;
}

/// <summary>What a fleet has come to.</summary>
/// <param name="Sent">Frames handed to the devices' clients.</param>
/// <param name="Acknowledged">Frames acknowledged.</param>
/// <param name="Refused">Frames answered with NACK.</param>
/// <param name="Dropped">Frames dropped by the clients.</param>
/// <param name="Repeated">Frames sent again after a reconnect.</param>
/// <param name="Connects">Sessions begun.</param>
/// <param name="Online">Devices with a session now.</param>
/// <param name="LastProblem">Why a device is not connected; empty if all are.</param>
internal sealed record FleetTotals(
    long Sent, long Acknowledged, long Refused, long Dropped, long Repeated, long Connects, int Online, string LastProblem)
{
    public long Waiting => Sent - Acknowledged - Refused - Dropped;
}
