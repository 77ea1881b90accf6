using System.CommandLine;
using System.Net.Sockets;

using IotTcpGateway.Configuration;
using IotTcpGateway.Health;

using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Hosting.Systemd;
using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Cli;

/// <summary>iotgw run: the gateway itself.</summary>
internal static class RunCommand
{
    // The service manager waits ten seconds; the gateway's own limits add up to less.
    private static readonly TimeSpan ShutdownLimit = TimeSpan.FromSeconds(10);

    private const string HostLogCategory = "Microsoft.Extensions.Hosting.Internal.Host";

    public static Command Create()
    {
        var options = new ConfigurationOptions();
        Option<string> socket = StatusCommand.SocketOption();
        var command = new Command("run", "Run the gateway.") { socket };
        HelpWithExample.Add(command, "iotgw run --set mqtt.brokers.0=mqtt://127.0.0.1");
        options.AddTo(command);
        // The token stops the host: the command line's own signal handler comes before the host's and waits for us.
        command.SetAction((parsed, stopping) => RunAsync(
            () => options.Read(parsed), parsed.GetValue(socket)!, CommandLine.IsVerbose(parsed), stopping));
        return command;
    }

    private static async Task<int> RunAsync(
        Func<ConfigurationResult> read, string socket, bool isVerbose, CancellationToken stopping)
    {
        ConfigurationResult result = read();
        foreach (ConfigurationFault fault in result.Faults)
            CommandLine.Fail(ExitCode.BadConfiguration, fault.ToString());
        if (result.Faults.Count > 0)
            return ExitCode.BadConfiguration;

        MemoryKeeper.LimitHeap(CrossRules.HeapBytesMax(result.Configuration));
        var level = new LogLevelSwitch(isVerbose ? LogLevel.Debug : result.Configuration.Log.Level);
        using IHost host = Build(result.Configuration, read, socket, level);
        var service = host.Services.GetRequiredService<GatewayService>();
        try
        {
            await host.RunAsync(stopping).ConfigureAwait(false);
        }
        catch (Exception e) when (!isVerbose && e is SocketException or IOException or UnauthorizedAccessException)
        {
            return CommandLine.Fail(ExitCode.CouldNotRun, e.Message);
        }

        return service.ExitCode;
    }

    private static IHost Build(
        GatewayConfiguration configuration, Func<ConfigurationResult> read, string socket, LogLevelSwitch level)
    {
        var builder = new HostApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Logging.SetMinimumLevel(LogLevel.Trace).AddFilter((_, category, wanted) => category switch
        {
            GatewayService.LogCategory => level.Allows(wanted),
            // It shows the stack trace of what keeps the gateway from starting; we say what and where in one line.
            HostLogCategory => level.Allows(LogLevel.Debug) && wanted >= LogLevel.Warning,
            _ => wanted >= LogLevel.Warning,
        });
        if (SystemdHelpers.IsSystemdService())
            builder.Logging.AddSystemdConsole();
        else
            builder.Logging.AddSimpleConsole(console => (console.SingleLine, console.TimestampFormat) = (true, "HH:mm:ss.fff "));
        builder.Services.AddSystemd();
        builder.Services.Configure<ConsoleLifetimeOptions>(lifetime => lifetime.SuppressStatusMessages = true);
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = ShutdownLimit);
        builder.Services.AddSingleton(services => new GatewayService(
            configuration,
            read,
            socket,
            level,
            services.GetRequiredService<IHostApplicationLifetime>(),
            services.GetRequiredService<ILoggerFactory>()));
        builder.Services.AddHostedService(services => services.GetRequiredService<GatewayService>());
        return builder.Build();
    }
}
