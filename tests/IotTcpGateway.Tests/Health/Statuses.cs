using System.Diagnostics.Metrics;

using IotTcpGateway.Health;

namespace IotTcpGateway.Tests.Health;

internal static class Statuses
{
    public static GatewayStatus Create(bool isReady = true) => new()
    {
        Gateway = "g",
        Version = "1",
        UptimeSeconds = 1,
        IsReady = isReady,
        IsClockSynchronised = true,
        Listeners = [new ListenerStatus("field", "127.0.0.1:1")],
        Devices = new DevicesStatus(3, 2, 5, true, 0),
        Frames = new FramesStatus(10, 1, 2, 3, new SafeLatency(1.5, 2.5)),
        Buffer = new BufferStatus(
            4,
            0,
            65536,
            8388608,
            false,
            new BufferDiskStatus("healthy", "", 0, 0, 1 << 30, false, 0, 0, 0, null, 0, 0, 0),
            []),
        Broker = new BrokerStatus(true, "mqtt://b:1883", "5", 1, 9, 0, ""),
        ResidentMebibytes = 20,
    };

    public static GatewayHealth Health(Meter meter, Func<bool>? isAlive = null, Func<bool>? isReady = null) =>
        new(new MetricsRegistry(meter), () => Create(isReady?.Invoke() ?? true), () => new DevicesReport([], []), isAlive ?? (() => true));
}
