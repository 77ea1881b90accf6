using System.Net;

using IotTcpGateway.Tls;

namespace IotTcpGateway.Ingest;

/// <summary>One entry of section "listeners".</summary>
internal sealed class ListenerOptions
{
    public string Name { get; set; } = "field";

    public string Endpoint { get; set; } = "0.0.0.0:7183";

    public string Protocol { get; set; } = "itgp";

    /// <summary>Modes accepted: "none", "hmac", "certificate".</summary>
    public List<string> Authentication { get; set; } = ["hmac"];

    /// <summary>CIDR blocks let in; empty lets everybody in.</summary>
    public List<string> AllowFrom { get; set; } = [];

    public int MaxConnections { get; set; } = 2000;

    public int MaxConnectionsPerAddress { get; set; } = 64;

    /// <summary>Connections at once that have not authenticated yet.</summary>
    public int MaxUnauthenticated { get; set; } = 64;

    public TimeSpan HandshakeTimeout { get; set; } = TimeSpan.FromSeconds(10);

    public TimeSpan FrameTimeout { get; set; } = TimeSpan.FromSeconds(10);

    public TimeSpan IdleTimeout { get; set; } = TimeSpan.FromSeconds(90);

    /// <summary>Largest DATA body, in bytes.</summary>
    public long MaxBody { get; set; } = 4096;

    /// <summary>Frames a second and device, of whatever type; bursts of one second.</summary>
    public int FramesPerSecond { get; set; } = 200;

    /// <summary>Most DATA frames that a device may have outstanding.</summary>
    public int MaxWindow { get; set; } = 64;

    /// <summary>1 to 3: frames of 3 are dropped last when the buffer is full.</summary>
    public int Priority { get; set; } = 2;

    /// <summary>
    /// Lost frame boundaries and protocol errors a minute and address, before it is refused for a minute.
    /// </summary>
    public int BadFramesPerMinute { get; set; } = 10;

    /// <summary>
    /// Failed proofs a minute and address, and right frames at the wrong time, before it is refused for a minute. Five a
    /// second: far above what devices with a wrong key do that back off, even many behind one address, and far below
    /// what costs the gateway anything.
    /// </summary>
    public int OffencesPerMinute { get; set; } = 300;

    /// <summary>Null: plain TCP.</summary>
    public ListenerTlsOptions? Tls { get; set; }

    public IPEndPoint ParsedEndpoint => IPEndPoint.Parse(Endpoint);
}

/// <summary>Section "devices".</summary>
internal sealed class DevicesOptions
{
    /// <summary>The key file; a missing one is an empty one.</summary>
    public string File { get; set; } = "/var/lib/iot-tcp-gateway/devices.json";

    /// <summary>Devices that the key file does not know wait until somebody approves them.</summary>
    public bool Enrolment { get; set; }

    public int MaxDevices { get; set; } = 10_000;

    /// <summary>Described channels a connection.</summary>
    public int MaxChannels { get; set; } = 256;

    /// <summary>Bytes that all channel tables together may take.</summary>
    public long MaxTableMemory { get; set; } = 4 * 1024 * 1024;
}
