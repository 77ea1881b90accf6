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
    private bool wasHeard = true;

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
    public void Reloading() => Notify(new ServiceState(string.Create(
        CultureInfo.InvariantCulture, $"RELOADING=1\nMONOTONIC_USEC={Environment.TickCount64 * 1000}")));

    public void Reloaded() => Ready();

    public void Ready() => Notify(ServiceState.Ready);

    public void Stopping() => Notify(ServiceState.Stopping);

    /// <summary>Says what it does now.</summary>
    public void Say(string text)
    {
        if (text == lastStatus)
            return;
        lastStatus = text;
        Notify(new ServiceState("STATUS=" + text));
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

    private void Notify(ServiceState state)
    {
        try
        {
            notifier.Notify(state);
            wasHeard = true;
        }
        catch (SocketException e)
        {
            // Who forwards frames does not stop because nobody asks how it is; the change is told once.
            if (wasHeard)
                LogNotHeard(logger, e.Message);
            wasHeard = false;
        }
    }

    private void Feed()
    {
        bool isAlive = health.IsAlive;
        if (isAlive)
            Notify(new ServiceState("WATCHDOG=1"));
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
        string full = now.Buffer.IsFull ? ", buffer FULL" : "";
        Say(string.Create(
            CultureInfo.InvariantCulture,
            $"{now.Devices.Online} devices, {now.Frames.Received} frames, {now.Buffer.Records} waiting, {broker}{full}"));
    }

    [LoggerMessage(1610, LogLevel.Critical,
        "a part of the pipeline stands still: the watchdog is not fed any more, systemd will restart the service")]
    private static partial void LogStandsStill(ILogger logger);

    [LoggerMessage(1611, LogLevel.Warning, "the service manager cannot be told anything: {Why}")]
    private static partial void LogNotHeard(ILogger logger, string why);
}
