using System.Diagnostics.Metrics;
using System.Net.Sockets;

using IotTcpGateway.Health;

using Microsoft.Extensions.Hosting.Systemd;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Health;

public sealed class ServiceManagerTests : IDisposable
{
    private readonly Meter meter = new("test");
    private readonly FakeTimeProvider time = new();
    private readonly Notifier notifier = new();
    private readonly string? watchdogBefore = Environment.GetEnvironmentVariable("WATCHDOG_USEC");
    private bool isAlive = true;

    public ServiceManagerTests() => Environment.SetEnvironmentVariable("WATCHDOG_USEC", "30000000");

    public void Dispose()
    {
        Environment.SetEnvironmentVariable("WATCHDOG_USEC", watchdogBefore);
        meter.Dispose();
    }

    [Fact]
    public void Watchdog_IsFedOnlyWhileThePipelineTurnsOver()
    {
        using ServiceManager manager = Create();
        time.Advance(TimeSpan.FromSeconds(30));
        int fed = notifier.Count("WATCHDOG=1");
        Assert.InRange(fed, 3, 4);
        isAlive = false;
        time.Advance(TimeSpan.FromSeconds(60));
        Assert.Equal(fed, notifier.Count("WATCHDOG=1"));
        isAlive = true;
        time.Advance(TimeSpan.FromSeconds(10));
        Assert.Equal(fed + 1, notifier.Count("WATCHDOG=1"));
    }

    [Fact]
    public void Status_IsSaidOnceUntilItChanges()
    {
        using ServiceManager manager = Create();
        time.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(1, notifier.Count("STATUS=2 devices, 10 frames, 4 waiting, broker mqtt://b:1883"));
    }

    [Fact]
    public void Reload_IsToldFromBeginningToEnd()
    {
        using ServiceManager manager = Create();
        manager.Reloading();
        manager.Reloaded();
        Assert.StartsWith("RELOADING=1\nMONOTONIC_USEC=", notifier.Said[^2], StringComparison.Ordinal);
        Assert.Equal("READY=1", notifier.Said[^1]);
    }

    [Fact]
    public void Notify_NobodyListens_IsNoReasonToFall()
    {
        using ServiceManager manager = Create();
        notifier.IsDeaf = true;
        time.Advance(TimeSpan.FromMinutes(1));
        manager.Stopping();
        notifier.IsDeaf = false;
        manager.Ready();
        Assert.Equal("READY=1", notifier.Said[^1]);
    }

    private ServiceManager Create() =>
        new(notifier, Statuses.Health(meter, () => isAlive), time, NullLogger.Instance);

    private sealed class Notifier : ISystemdNotifier
    {
        public List<string> Said { get; } = [];

        public bool IsEnabled => true;

        public bool IsDeaf { get; set; }

        public void Notify(ServiceState state)
        {
            if (IsDeaf)
                throw new SocketException((int)SocketError.ConnectionRefused);
            Said.Add(state.ToString());
        }

        public int Count(string said) => Said.Count(s => s == said);
    }
}
