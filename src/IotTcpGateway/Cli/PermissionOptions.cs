using System.CommandLine;
using System.Globalization;

using IotTcpGateway.Escaping;
using IotTcpGateway.Keys;

namespace IotTcpGateway.Cli;

/// <summary>The options that say what a device may do.</summary>
internal sealed class PermissionOptions
{
    private const string Any = "any";

    private readonly Option<string[]> channels = Patterns(
        "--channels", "Channels that it may write: names, with + for a level and a last # for all below; \"any\" for all.");

    private readonly Option<string[]> commands = Patterns(
        "--commands", "Commands that it may be sent: patterns as for --channels, \"any\" for all, \"\" for none.");

    private readonly Option<string> rate = Number("--rate", "Frames a second; \"any\" for what the listener says.", 1, 1_000_000);
    private readonly Option<string> priority = Number("--priority", "1 to 3, 3 is dropped last; \"any\" for what the listener says.", 1, 3);

    public IReadOnlyList<Option> Options => [channels, commands, rate, priority];

    /// <summary>The permissions with what was named changed.</summary>
    public DevicePermissions Change(ParseResult parsed, DevicePermissions before) => before with
    {
        Channels = PatternsOf(parsed, channels, before.Channels),
        Commands = PatternsOf(parsed, commands, before.Commands),
        FramesPerSecond = NumberOf(parsed, rate, before.FramesPerSecond),
        Priority = NumberOf(parsed, priority, before.Priority),
    };

    /// <summary>What a device may do, in words.</summary>
    public static string Describe(DevicePermissions permissions)
    {
        List<string> said =
        [
            .. permissions.Channels is { } channels ? [$"channels {Listed(channels)}"] : Array.Empty<string>(),
            .. permissions.Commands is { } commands ? [$"commands {Listed(commands)}"] : Array.Empty<string>(),
            .. permissions.FramesPerSecond is { } frames ? [string.Create(CultureInfo.InvariantCulture, $"{frames} frames/s")] : Array.Empty<string>(),
            .. permissions.Priority is { } priority ? [string.Create(CultureInfo.InvariantCulture, $"priority {priority}")] : Array.Empty<string>(),
        ];
        return said.Count == 0 ? "no limits of its own" : string.Join(", ", said);

        static string Listed(IReadOnlyList<string> patterns) => patterns.Count == 0 ? "none" : string.Join(" ", patterns);
    }

    private static Option<string[]> Patterns(string name, string description)
    {
        var option = new Option<string[]>(name) { Description = description, HelpName = "PATTERN,…", AllowMultipleArgumentsPerToken = false };
        option.Validators.Add(result =>
        {
            foreach (string pattern in Split(result.Tokens.Select(t => t.Value)))
            {
                if (pattern != Any && !NamePattern.IsValid(pattern))
                    result.AddError($"{name}: \"{SafeText.Clean(pattern)}\" is no pattern: levels of A-Z a-z 0-9 . _ - with / between, + for a level, a last # for all below");
            }
        });
        return option;
    }

    private static Option<string> Number(string name, string description, int min, int max)
    {
        var option = new Option<string>(name) { Description = description, HelpName = "N" };
        option.Validators.Add(result =>
        {
            string text = result.Tokens[0].Value;
            if (text != Any && (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int value) || value < min || value > max))
                result.AddError($"{name} is {min} to {max}, or \"any\"");
        });
        return option;
    }

    private static IReadOnlyList<string>? PatternsOf(ParseResult parsed, Option<string[]> option, IReadOnlyList<string>? before)
    {
        if (parsed.GetResult(option) is null)
            return before;
        string[] patterns = Split(parsed.GetValue(option) ?? []);
        return patterns.Contains(Any) ? null : patterns;
    }

    private static int? NumberOf(ParseResult parsed, Option<string> option, int? before)
    {
        if (parsed.GetResult(option) is null)
            return before;
        return parsed.GetValue(option) is { } text && text != Any ? int.Parse(text, CultureInfo.InvariantCulture) : null;
    }

    private static string[] Split(IEnumerable<string> values) =>
        [.. values.SelectMany(value => value.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))];
}
