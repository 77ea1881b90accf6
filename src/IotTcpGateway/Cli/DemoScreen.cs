using System.Globalization;

using IotTcpGateway.Demo;
using IotTcpGateway.Health;

using Spectre.Console;

namespace IotTcpGateway.Cli;

/// <summary>Shows the demo: a live table on a terminal, a plain line a second elsewhere.</summary>
internal sealed class DemoScreen(DemoWorld world, TimeProvider time)
{
    private static readonly TimeSpan Refresh = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan LineInterval = TimeSpan.FromSeconds(1);

    private long framesBefore;
    private long lookedAt = time.GetTimestamp();
    private double framesPerSecond;

    /// <summary>Shows until told to stop; "quit" is called when the user presses q.</summary>
    public async Task ShowAsync(Action quit, CancellationToken stopping)
    {
        try
        {
            bool isTerminal = !Console.IsOutputRedirected && !Console.IsInputRedirected;
            await (isTerminal ? ShowTableAsync(quit, stopping) : ShowLinesAsync(stopping)).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // The show is over.
        }
    }

    private async Task ShowLinesAsync(CancellationToken stopping)
    {
        using var timer = new PeriodicTimer(LineInterval, time);
        while (await timer.WaitForNextTickAsync(stopping).ConfigureAwait(false))
            Console.WriteLine(string.Join("  ", Rows().Select(r => $"{r.Name}: {r.Value}")));
    }

    private async Task ShowTableAsync(Action quit, CancellationToken stopping)
    {
        AnsiConsole.MarkupLine("[bold]iotgw demo[/]  [dim]b: cut or restore the broker   q: end[/]");
        await AnsiConsole.Live(Table()).StartAsync(async live =>
        {
            using var timer = new PeriodicTimer(Refresh, time);
            while (await timer.WaitForNextTickAsync(stopping).ConfigureAwait(false))
            {
                while (Console.KeyAvailable)
                {
                    ConsoleKey key = Console.ReadKey(intercept: true).Key;
                    if (key == ConsoleKey.B)
                        world.ToggleBroker();
                    else if (key == ConsoleKey.Q)
                        quit();
                }

                live.UpdateTarget(Table());
            }
        }).ConfigureAwait(false);
    }

    private Table Table()
    {
        Table table = new Table().Border(TableBorder.Rounded).HideHeaders().AddColumn("").AddColumn("");
        foreach ((string name, string value) in Rows())
            table.AddRow(new Text(name), new Text(value, StyleOf(name)));
        return table;
    }

    private Style StyleOf(string name) =>
        name == "broker" ? new Style(world.IsBrokerThere ? Color.Green : Color.Red) : Style.Plain;

    private IEnumerable<(string Name, string Value)> Rows()
    {
        GatewayStatus status = world.Status();
        FleetTotals totals = world.Totals();
        TimeSpan passed = time.GetElapsedTime(lookedAt);
        if (passed >= LineInterval)
        {
            framesPerSecond = (status.Frames.Received - framesBefore) / passed.TotalSeconds;
            framesBefore = status.Frames.Received;
            lookedAt = time.GetTimestamp();
        }

        yield return ("devices", Text($"{totals.Online} online by TCP with HMAC and tagged frames"));
        yield return ("frames", Text($"{totals.Sent} sent, {totals.Acknowledged} acknowledged, {framesPerSecond:0}/s"));
        yield return ("broker", status.Broker.IsConnected ? "connected" : world.IsBrokerThere ? "reconnecting" : "AWAY: frames are kept");
        yield return ("delivered", Text($"{world.Delivered} at the broker"));
        yield return ("buffer", Text($"{status.Buffer.Records} waiting, {status.Buffer.MemoryBytes / 1024} KiB"));
        yield return ("safe latency", StatusTable.Latency(status.Frames.SafeLatency));
        yield return ("memory", Text($"{status.ResidentMebibytes} MiB resident, devices and broker included"));
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
