using System.Globalization;
using System.Net.Sockets;

using Microsoft.Extensions.Hosting.Systemd;
using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Health;

/// <summary>
/// What systemd hears beyond READY and STOPPING: the watchdog, fed only while the pipeline turns over, a line of status,
/// and reloads. Source: sd_notify(3).
/// </summary>
internal sealed partial class ServiceManager : IDisposable
{
    private static readonly TimeSpan StatusInterval = TimeSpan.FromSeconds(5);

    private readonly ISystemdNotifier notifier;
    private readonly GatewayHealth health;
    private readonly ILogger logger;
    private readonly ITimer? watchdog;
    private readonly ITimer? status;
    private string lastStatus = "";
    private bool wasAlive = true;
    private bool isUnheard;

    public ServiceManager(ISystemdNotifier notifier, GatewayHealth health, TimeProvider time, ILogger logger)
    {
        this.notifier = notifier;
        this.health = health;
        this.logger = logger;
        if (!notifier.IsEnabled)
            return;
        if (WatchdogInterval() is { } interval)
            watchdog = time.CreateTimer(_ => Feed(), null, TimeSpan.Zero, interval / 3);
        status = time.CreateTimer(_ => ShowStatus(), null, TimeSpan.Zero, StatusInterval);
    }

    /// <summary>A reload begins; <see cref="Reloaded"/> ends it.</summary>
    public void Reloading() => Tell(new ServiceState(string.Create(
        CultureInfo.InvariantCulture, $"RELOADING=1\nMONOTONIC_USEC={Environment.TickCount64 * 1000}")));

    public void Reloaded() => Ready();

    /// <summary>Everything listens.</summary>
    public void Ready() => Tell(ServiceState.Ready);

    /// <summary>The end begins.</summary>
    public void Stopping() => Tell(ServiceState.Stopping);

    /// <summary>Says what it does now.</summary>
    public void Say(string text)
    {
        if (text == lastStatus)
            return;
        lastStatus = text;
        Tell(new ServiceState("STATUS=" + text));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        watchdog?.Dispose();
        status?.Dispose();
    }

    private static TimeSpan? WatchdogInterval()
    {
        string? process = Environment.GetEnvironmentVariable("WATCHDOG_PID");
        bool isForUs = process is null || process == Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
        return isForUs && long.TryParse(Environment.GetEnvironmentVariable("WATCHDOG_USEC"), out long microseconds)
            ? TimeSpan.FromMicroseconds(microseconds)
            : null;
    }

    // A service manager that does not listen, perhaps because it starts anew itself, is no reason to fall.
    private void Tell(ServiceState state)
    {
        try
        {
            notifier.Notify(state);
            isUnheard = false;
        }
        catch (SocketException e)
        {
            if (!isUnheard)
                LogUnheard(logger, e.Message);
            isUnheard = true;
        }
    }

    private void Feed()
    {
        bool isAlive = health.IsAlive;
        if (isAlive)
            Tell(new ServiceState("WATCHDOG=1"));
        else if (wasAlive)
            LogStandsStill(logger);
        wasAlive = isAlive;
    }

    private void ShowStatus()
    {
        GatewayStatus now = health.Status();
        string broker = now.Broker.IsConnected
            ? $"broker {now.Broker.Address}"
            : now.Broker.Address.Length == 0 ? "no broker configured" : $"broker away ({now.Broker.Address})";
        string full = (now.Buffer.IsFull ? ", buffer FULL" : "") + now.Buffer.Disk.Trouble;
        Say(string.Create(
            CultureInfo.InvariantCulture,
            $"{now.Devices.Online} devices, {now.Frames.Received} frames, {now.Buffer.Records} waiting, {broker}{full}"));
    }

    [LoggerMessage(1610, LogLevel.Critical,
        "a part of the pipeline stands still: the watchdog is not fed any more, systemd will restart the service")]
    private static partial void LogStandsStill(ILogger logger);

    [LoggerMessage(1611, LogLevel.Warning, "the service manager does not listen on its socket ({Why}): going on without")]
    private static partial void LogUnheard(ILogger logger, string why);
}
