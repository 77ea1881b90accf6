using System.CommandLine;
using System.Globalization;

using IotTcpGateway.Demo;
using IotTcpGateway.DeviceClient;
using IotTcpGateway.Escaping;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;

using Command = System.CommandLine.Command;

namespace IotTcpGateway.Cli;

/// <summary>iotgw simulate: a fleet of simulated devices against any gateway.</summary>
internal static class SimulateCommand
{
    private static readonly Option<string> To = new("--to")
    {
        Description = "The gateway.",
        HelpName = "HOST:PORT",
        Required = true,
    };

    private static readonly Option<int> Devices = new("--devices") { Description = "Devices.", DefaultValueFactory = _ => 10 };

    private static readonly Option<double> Rate = new("--rate")
    {
        Description = "Frames a second of each device; 0 for as many as are acknowledged.",
        DefaultValueFactory = _ => 1,
    };

    private static readonly Option<long?> Frames = new("--frames") { Description = "Frames of each device; default: until --for or Ctrl+C." };

    private static readonly Option<int> Values = new("--values") { Description = "Values in a frame.", DefaultValueFactory = _ => 4 };

    private static readonly Option<string> Prefix = new("--prefix")
    {
        Description = "Device ids are this and a number from 1.",
        DefaultValueFactory = _ => "sim-",
    };

    private static readonly Option<string?> KeyFilePath = new("--keys")
    {
        Description = "Key file with the devices' keys; without it they do not authenticate.",
        HelpName = "FILE",
    };

    private static readonly Option<bool> MakeKeys = new("--make-keys")
    {
        Description = "Add keys for devices that the key file lacks.",
    };

    private static readonly Option<bool> Tagged = new("--tagged") { Description = "Sign every frame." };

    private static readonly Option<string?> TlsCa = new("--tls-ca")
    {
        Description = "Use TLS and trust these authorities.",
        HelpName = "FILE",
    };

    private static readonly Option<bool> Tls = new("--tls") { Description = "Use TLS and trust the system's authorities." };

    private static readonly Option<int> ConnectRate = new("--connect-rate")
    {
        Description = "Devices that begin to connect in a second.",
        DefaultValueFactory = _ => 100,
    };

    private static readonly Option<TimeSpan?> BreakEvery =
        DemoCommand.DurationOption("--break-every", "Each device breaks its connection about that often.");

    private static readonly Option<TimeSpan?> Duration = DemoCommand.DurationOption("--for", "Send for this time.");

    private static readonly Option<TimeSpan?> Drain =
        DemoCommand.DurationOption("--drain", "At the end wait so long for what is not acknowledged; default 30s.");

    private static readonly Option<bool> Json = new("--json") { Description = "Print the result as JSON." };

    public static Command Create()
    {
        var command = new Command("simulate", "Run a fleet of simulated devices against a gateway and show what came of it.")
        {
            To, Devices, Rate, Frames, Values, Prefix, KeyFilePath, MakeKeys, Tagged, Tls, TlsCa, ConnectRate, BreakEvery,
            Duration, Drain, Json,
        };
        HelpWithExample.Add(command, "iotgw simulate --to 127.0.0.1:7183 --devices 100 --rate 10 --for 30s --keys devices.json");
        command.SetAction(RunAsync);
        return command;
    }

    private static async Task<int> RunAsync(ParseResult parsed, CancellationToken stopping)
    {
        if (OptionsOf(parsed, out string wrong) is not { } options)
            return CommandLine.Fail(ExitCode.WrongUsage, $"{wrong}; see \"iotgw simulate --help\"");
        if (parsed.GetValue(KeyFilePath) is { } path)
        {
            try
            {
                options = options with { KeyOf = await KeysOfAsync(path, options, parsed.GetValue(MakeKeys)).ConfigureAwait(false) };
            }
            catch (KeyFileException e)
            {
                return CommandLine.Fail(ExitCode.Bad, e.Message);
            }
        }

        await using var fleet = new Fleet(options, TimeProvider.System);
        using var sending = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        if (parsed.GetValue(Duration) is { } duration)
            sending.CancelAfter(duration);
        using var showing = new CancellationTokenSource();
        bool asJson = parsed.GetValue(Json);
        Task progress = asJson ? Task.CompletedTask : ShowProgressAsync(fleet, showing.Token);
        long since = TimeProvider.System.GetTimestamp();
        await fleet.SendAsync(sending.Token).ConfigureAwait(false);
        await fleet.FlushAsync(parsed.GetValue(Drain) ?? TimeSpan.FromSeconds(30), CancellationToken.None).ConfigureAwait(false);
        TimeSpan took = TimeProvider.System.GetElapsedTime(since);
        await showing.CancelAsync().ConfigureAwait(false);
        await progress.ConfigureAwait(false);
        return Report(fleet, took, asJson);
    }

    private static FleetOptions? OptionsOf(ParseResult parsed, out string wrong)
    {
        string[] to = parsed.GetValue(To)!.Split(':');
        string host = string.Join(':', to[..^1]).Trim('[', ']');
        wrong = "";
        if (to.Length < 2 || host.Length == 0 || !ushort.TryParse(to[^1], CultureInfo.InvariantCulture, out ushort port) || port == 0)
            wrong = $"--to wants HOST:PORT, not \"{parsed.GetValue(To)}\"";
        else if (parsed.GetValue(Devices) is < 1 or > 100_000)
            wrong = "--devices wants 1 to 100000";
        else if (parsed.GetValue(Rate) is < 0 or > 1_000_000 or double.NaN)
            wrong = "--rate wants 0 to 1000000";
        else if (parsed.GetValue(Values) is < 1 or > Fleet.ValuesMax)
            wrong = $"--values wants 1 to {Fleet.ValuesMax}";
        else if (parsed.GetValue(Frames) is < 1)
            wrong = "--frames wants at least 1";
        else if (parsed.GetValue(ConnectRate) < 1)
            wrong = "--connect-rate wants at least 1";
        else if (!Names.IsDeviceId(System.Text.Encoding.UTF8.GetBytes(parsed.GetValue(Prefix) + "100000")))
            wrong = $"--prefix \"{parsed.GetValue(Prefix)}\" does not make device ids: A-Z a-z 0-9 . _ - may be in them";
        else if (parsed.GetValue(Tagged) && parsed.GetValue(KeyFilePath) is null)
            wrong = "--tagged wants --keys";
        else
            return Make(parsed, host, port);
        return null;
    }

    private static FleetOptions Make(ParseResult parsed, string host, int port)
    {
        string? ca = parsed.GetValue(TlsCa);
        return new FleetOptions
        {
            Host = host,
            Port = port,
            IdPrefix = parsed.GetValue(Prefix)!,
            Devices = parsed.GetValue(Devices),
            Rate = parsed.GetValue(Rate),
            Frames = parsed.GetValue(Frames),
            Values = parsed.GetValue(Values),
            ConnectsPerSecond = parsed.GetValue(ConnectRate),
            BreakEvery = parsed.GetValue(BreakEvery),
            Tagged = parsed.GetValue(Tagged),
            Tls = parsed.GetValue(Tls) || ca is not null ? new DeviceTlsOptions { CaFile = ca } : null,
        };
    }

    private static async Task<Func<string, byte[]?>> KeysOfAsync(string path, FleetOptions options, bool makesMissing)
    {
        var file = new KeyFile(path);
        var keys = file.Read().ToDictionary(d => d.Id, d => d.Key);
        string[] missing = [.. Enumerable.Range(1, options.Devices).Select(n => options.IdPrefix + n).Where(id => !keys.ContainsKey(id))];
        if (missing.Length > 0 && !makesMissing)
            throw new KeyFileException($"{path} has no key for {missing[0]}: add it with --make-keys or \"iotgw device add\"");
        foreach (DeviceEntry made in file.AddAll(missing, TimeProvider.System.GetUtcNow()))
            keys[made.Id] = made.Key;
        // A running gateway takes them within a second; before that it would turn the devices away.
        if (missing.Length > 0)
            await Task.Delay(TimeSpan.FromSeconds(1.5)).ConfigureAwait(false);
        return keys.GetValueOrDefault;
    }

    private static async Task ShowProgressAsync(Fleet fleet, CancellationToken stopping)
    {
        try
        {
            using var timer = new PeriodicTimer(TimeSpan.FromSeconds(2));
            while (await timer.WaitForNextTickAsync(stopping).ConfigureAwait(false))
            {
                FleetTotals now = fleet.Totals();
                string problem = now.LastProblem.Length == 0 ? "" : $" ({now.LastProblem})";
                Console.Error.WriteLine(Text($"{now.Online} online, {now.Sent} sent, {now.Acknowledged} acknowledged{SafeText.Clean(problem)}"));
            }
        }
        catch (OperationCanceledException)
        {
            // The fleet is done.
        }
    }

    private static int Report(Fleet fleet, TimeSpan took, bool asJson)
    {
        FleetTotals totals = fleet.Totals();
        (string Name, string Label, double Value, string Format)[] rows =
        [
            ("sent", "frames sent", totals.Sent, "0"),
            ("acknowledged", "acknowledged", totals.Acknowledged, "0"),
            ("refused", "refused (NACK)", totals.Refused, "0"),
            ("dropped", "dropped by devices", totals.Dropped, "0"),
            ("waiting", "not acknowledged", totals.Waiting, "0"),
            ("repeated", "sent again", totals.Repeated, "0"),
            ("connects", "connects", totals.Connects, "0"),
            ("seconds", "seconds", took.TotalSeconds, "0.00"),
            ("framesPerSecond", "frames a second", totals.Acknowledged / took.TotalSeconds, "0"),
            ("p50Milliseconds", "latency p50, ms", fleet.Latency.Percentile(0.5).TotalMilliseconds, "0.00"),
            ("p99Milliseconds", "latency p99, ms", fleet.Latency.Percentile(0.99).TotalMilliseconds, "0.00"),
            ("p999Milliseconds", "latency p99.9, ms", fleet.Latency.Percentile(0.999).TotalMilliseconds, "0.00"),
            ("maxMilliseconds", "latency max, ms", fleet.Latency.Largest.TotalMilliseconds, "0.00"),
        ];
        if (asJson)
            Console.WriteLine("{" + string.Join(",", rows.Select(r => Text($"\"{r.Name}\":{r.Value.ToString(r.Format, CultureInfo.InvariantCulture)}"))) + "}");
        else
            Array.ForEach(rows, r => Console.WriteLine($"{r.Label,-20} {r.Value.ToString(r.Format, CultureInfo.InvariantCulture),12}"));
        if (totals.Acknowledged == totals.Sent && totals.Sent > 0)
            return ExitCode.Fine;
        string why = totals.LastProblem.Length > 0 ? totals.LastProblem : "see the table";
        return CommandLine.Fail(ExitCode.Bad, $"not every frame was acknowledged: {why}");
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
