using IotTcpGateway.Buffer;
using IotTcpGateway.Forward;
using IotTcpGateway.Health;
using IotTcpGateway.Ingest;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Configuration;

/// <summary>The whole configuration, merged, checked and with defaults filled in.</summary>
internal sealed class GatewayConfiguration
{
    public GatewayOptions Gateway { get; set; } = new();

    public List<ListenerOptions> Listeners { get; set; } = [new ListenerOptions()];

    public DevicesOptions Devices { get; set; } = new();

    public BufferOptions Buffer { get; set; } = new();

    public MqttOptions Mqtt { get; set; } = new();

    /// <summary>Null: no HTTP at all.</summary>
    public HttpOptions? Http { get; set; }

    public LogOptions Log { get; set; } = new();
}

/// <summary>Section "gateway".</summary>
internal sealed class GatewayOptions
{
    /// <summary>The gateway's id in topics; by default the host name.</summary>
    public string Id { get; set; } = "";

    /// <summary>Believe the wall clock though the kernel does not call it synchronised.</summary>
    public bool TrustClock { get; set; }
}

/// <summary>Section "log".</summary>
internal sealed class LogOptions
{
    public LogLevel Level { get; set; } = LogLevel.Information;
}
