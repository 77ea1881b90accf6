using System.CommandLine;
using System.Globalization;

using IotTcpGateway.Configuration;
using IotTcpGateway.Demo;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Cli;

/// <summary>iotgw demo: what a newcomer sees first.</summary>
internal static class DemoCommand
{
    private static readonly TimeSpan SettleLimit = TimeSpan.FromSeconds(60);

    public static Command Create()
    {
        Option<TimeSpan?> duration = DurationOption("--for", "End after this time with a summary, such as 10s.");
        Option<TimeSpan?> outage = DurationOption("--outage", "Take the broker away for this time, once, in the middle of --for.");
        var command = new Command(
            "demo", "Run the real gateway with simulated devices and an embedded broker, all on loopback, and watch it.")
        {
            duration,
            outage,
        };
        HelpWithExample.Add(command, "iotgw demo --for 10s --outage 3s");
        command.SetAction((parsed, stopping) => RunAsync(
            parsed.GetValue(duration), parsed.GetValue(outage), CommandLine.IsVerbose(parsed), stopping));
        return command;
    }

    /// <summary>An option that takes a duration as people write it.</summary>
    public static Option<TimeSpan?> DurationOption(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "DURATION",
        CustomParser = result =>
        {
            if (Quantities.TryParseDuration(result.Tokens[0].Value, out TimeSpan value))
                return value;
            result.AddError($"{name} wants a duration such as 250ms, 10s or 5m, not \"{result.Tokens[0].Value}\"");
            return null;
        },
    };

    private static async Task<int> RunAsync(TimeSpan? duration, TimeSpan? outage, bool isVerbose, CancellationToken stopping)
    {
        if (outage is not null && (duration is null || outage >= duration))
            return CommandLine.Fail(ExitCode.WrongUsage, "--outage wants a longer --for");
        using ILoggerFactory loggers = LoggerFactory.Create(logging =>
        {
            if (isVerbose)
                logging.SetMinimumLevel(LogLevel.Debug).AddSimpleConsole(console => console.SingleLine = true);
        });
        await using var world = new DemoWorld(loggers);
        await world.StartAsync().ConfigureAwait(false);
        Console.WriteLine($"devices connect to {world.ListenerAddress}, the broker is {world.BrokerAddress}, status at {world.HttpAddress}/status");
        using var sending = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        if (duration is { } time)
            sending.CancelAfter(time);
        using var showing = new CancellationTokenSource();
        Task show = new DemoScreen(world, TimeProvider.System).ShowAsync(sending.Cancel, showing.Token);
        Task interrupting = outage is null ? Task.CompletedTask : InterruptAsync(world, duration!.Value, outage.Value, sending.Token);
        await world.RunAsync(sending.Token).ConfigureAwait(false);
        await interrupting.ConfigureAwait(false);
        bool isSettled = await world.SettleAsync(SettleLimit, CancellationToken.None).ConfigureAwait(false);
        await showing.CancelAsync().ConfigureAwait(false);
        await show.ConfigureAwait(false);
        return Summarise(world, isSettled);
    }

    private static async Task InterruptAsync(DemoWorld world, TimeSpan duration, TimeSpan outage, CancellationToken stopping)
    {
        try
        {
            await Task.Delay((duration - outage) / 2, stopping).ConfigureAwait(false);
            Console.WriteLine("-- the broker goes away");
            world.ToggleBroker();
            await Task.Delay(outage, stopping).ConfigureAwait(false);
            Console.WriteLine("-- the broker comes back");
            world.ToggleBroker();
        }
        catch (OperationCanceledException)
        {
            // Ended early: settling brings the broker back.
        }
    }

    private static int Summarise(DemoWorld world, bool isSettled)
    {
        FleetTotals totals = world.Totals();
        bool isDelivered = isSettled && totals.Waiting == 0 && totals.Acknowledged == totals.Sent && world.Delivered == totals.Sent;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{totals.Sent} frames sent, {totals.Acknowledged} acknowledged, {world.Delivered} delivered to the broker, {world.Duplicates} delivered twice"));
        Console.WriteLine(isDelivered ? "everything sent arrived" : "NOT everything sent arrived");
        return isDelivered ? ExitCode.Fine : ExitCode.Bad;
    }
}
