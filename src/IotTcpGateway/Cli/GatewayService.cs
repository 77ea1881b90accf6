using System.Net.Sockets;
using System.Runtime.InteropServices;

using IotTcpGateway.Configuration;
using IotTcpGateway.Escaping;
using IotTcpGateway.Health;
using IotTcpGateway.Ingest;
using IotTcpGateway.Time;

using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Systemd;
using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Cli;

/// <summary>The gateway as a service of the host: start, reload on SIGHUP, stop, and the exit code.</summary>
internal sealed partial class GatewayService(
    GatewayConfiguration configuration,
    Func<ConfigurationResult> readConfiguration,
    string controlSocketPath,
    LogLevelSwitch level,
    IHostApplicationLifetime lifetime,
    ILoggerFactory loggers) : IHostedService, IAsyncDisposable
{
    public const string LogCategory = HttpEndpoint.LogCategory;

    private readonly ILogger logger = loggers.CreateLogger(LogCategory);
    private Gateway? gateway;
    private HttpEndpoint? http;
    private ControlSocket? control;
    private ServiceManager? manager;
    private MemoryKeeper? memory;
    private PosixSignalRegistration? hangUp;
    private Task watching = Task.CompletedTask;
    private bool isStopping;
    private bool isDisposed;

    public int ExitCode { get; private set; } = Cli.ExitCode.Fine;

    /// <inheritdoc/>
    public async Task StartAsync(CancellationToken cancellationToken)
    {
        foreach (string warning in CrossRules.Warnings(configuration))
            LogWarning(logger, SafeText.Clean(warning, SafeText.LineCharactersMax));
        gateway = new Gateway(configuration, TimeProvider.System, GatewayClock.IsKernelSynchronised, logger);
        try
        {
            gateway.Start();
        }
        catch (SocketException e)
        {
            // They are bound in order: the first that is not there is the one.
            ListenerOptions failed = configuration.Listeners[gateway.Endpoints.Count];
            throw new IOException(
                $"listener {failed.Name} cannot use {failed.Endpoint}: {e.Message}; "
                + "is the port taken, or the address not of this machine?",
                e);
        }

        if (configuration.Http is not null)
        {
            http = new HttpEndpoint(configuration.Http, gateway.Health, TimeProvider.System, loggers);
            await http.StartAsync().ConfigureAwait(false);
            LogHttp(logger, http.Address);
        }

        control = new ControlSocket(controlSocketPath, gateway.Health, logger);
        control.Start();
        manager = new ServiceManager(new SystemdNotifier(), gateway.Health, TimeProvider.System, logger);
        hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, signal =>
        {
            signal.Cancel = true;
            Reload();
        });
        watching = WatchAsync(gateway);
        memory = new MemoryKeeper(TimeProvider.System);
        manager.Ready();
        LogStarted(logger, ProductVersion.Text, configuration.Gateway.Id);
    }

    /// <inheritdoc/>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        if (gateway is null)
            return;
        Volatile.Write(ref isStopping, true);
        manager?.Stopping();
        hangUp?.Dispose();
        await gateway.StopAsync(text => manager?.Say(text)).ConfigureAwait(false);
        await watching.ConfigureAwait(false);
        LogStopped(logger);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        // The container knows it by two names and disposes it by each.
        if (Interlocked.Exchange(ref isDisposed, true))
            return;
        hangUp?.Dispose();
        memory?.Dispose();
        manager?.Dispose();
        control?.Dispose();
        if (http is not null)
            await http.DisposeAsync().ConfigureAwait(false);
        if (gateway is not null)
            await gateway.DisposeAsync().ConfigureAwait(false);
    }

    // A worker that ends before it was told to has failed: the service manager shall start the gateway anew.
    private async Task WatchAsync(Gateway watched)
    {
        try
        {
            await watched.Completion.ConfigureAwait(false);
            if (Volatile.Read(ref isStopping))
                return;
            LogWorkerEnded(logger, null);
        }
        catch (Exception e)
        {
            // The top of the workers: whatever it was, the process ends with a code that says so.
            LogWorkerEnded(logger, e);
        }

        ExitCode = Cli.ExitCode.Bad;
        lifetime.StopApplication();
    }

    private void Reload()
    {
        manager?.Reloading();
        ConfigurationResult result = readConfiguration();
        foreach (ConfigurationFault fault in result.Faults)
            LogReloadFault(logger, SafeText.Clean(fault.ToString(), SafeText.LineCharactersMax));
        if (result.Faults.Count == 0)
        {
            level.Set(result.Configuration.Log.Level);
            gateway?.Reload(result.Configuration);
            http?.Refresh();
        }

        manager?.Reloaded();
    }

    [LoggerMessage(1001, LogLevel.Information, "iotgw {Version} runs as {Gateway}")]
    private static partial void LogStarted(ILogger logger, string version, string gateway);

    [LoggerMessage(1002, LogLevel.Information, "stopped")]
    private static partial void LogStopped(ILogger logger);

    [LoggerMessage(1003, LogLevel.Critical, "a worker ended: the gateway cannot go on and stops with exit code 1; please report this")]
    private static partial void LogWorkerEnded(ILogger logger, Exception? exception);

    [LoggerMessage(1004, LogLevel.Error, "the configuration is not reloaded, the old one stays in force: {Fault}")]
    private static partial void LogReloadFault(ILogger logger, string fault);

    [LoggerMessage(1005, LogLevel.Warning, "{Warning}")]
    private static partial void LogWarning(ILogger logger, string warning);

    [LoggerMessage(1006, LogLevel.Information, "HTTP is answered at {Address}")]
    private static partial void LogHttp(ILogger logger, string address);
}
