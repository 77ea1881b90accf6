namespace IotTcpGateway.DeviceClient;

/// <summary>What one welcomed connection may send. Guarded by the custody it is opened in.</summary>
internal sealed class Session(WakeSignal wake, ushort window, int largestBody, bool isTagged)
{
    /// <summary>Wakes the connection's writer.</summary>
    public WakeSignal Wake => wake;

    /// <summary>DATA frames sent on this connection and neither acknowledged nor refused.</summary>
    public InFlight InFlight { get; } = new();

    /// <summary>How many of them there may be.</summary>
    public ushort Window { get; set; } = window;

    /// <summary>Largest body that the gateway accepts, in bytes.</summary>
    public int LargestBody => largestBody;

    /// <summary>Whether frames carry a tag.</summary>
    public bool IsTagged => isTagged;

    /// <summary>Whether the gateway has settled a frame on this connection: then the link held.</summary>
    public bool HasProgress { get; set; }

    /// <summary>Whether a DATA frame may be sent now.</summary>
    public bool HasWindow => InFlight.Count < Window;
}
