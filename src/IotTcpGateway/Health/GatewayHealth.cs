namespace IotTcpGateway.Health;

/// <summary>The small state that the gateway shows: made by the composition, which knows the parts.</summary>
internal sealed class GatewayHealth(MetricsRegistry metrics, Func<GatewayStatus> status, Func<DevicesReport> devices, Func<bool> isAlive)
{
    public MetricsRegistry Metrics => metrics;

    /// <summary>The pipeline turns over: accepting, and the forwarder's loop alive.</summary>
    public bool IsAlive => isAlive();

    public GatewayStatus Status() => status();

    public DevicesReport Devices() => devices();
}
