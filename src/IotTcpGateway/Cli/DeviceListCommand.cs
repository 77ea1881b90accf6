using System.CommandLine;
using System.Globalization;

using IotTcpGateway.Escaping;
using IotTcpGateway.Health;
using IotTcpGateway.Keys;

namespace IotTcpGateway.Cli;

/// <summary>iotgw device list: who may come in, and who did.</summary>
internal static class DeviceListCommand
{
    public static Command Create()
    {
        var options = new ConfigurationOptions();
        Option<string> socket = StatusCommand.SocketOption();
        var command = new Command("list", "List the devices: who may come in, who is there, and who waits for approval.") { socket };
        HelpWithExample.Add(command, "iotgw device list");
        options.AddTo(command);
        command.SetAction((parsed, stopping) => DeviceCommand.WithFileAsync(options, parsed, null, async (file, _) =>
        {
            IReadOnlyList<DeviceEntry> known = file.Read();
            DevicesReport? report = await ControlClient.DevicesAsync(parsed.GetValue(socket)!, stopping).ConfigureAwait(false);
            foreach (string line in Lines(known, report))
                Console.WriteLine(line);
            if (report is null)
                await Console.Error.WriteLineAsync($"no gateway answers at {parsed.GetValue(socket)}: who is there is not known").ConfigureAwait(false);
            return ExitCode.Fine;
        }));
        return command;
    }

    /// <summary>A line for each device, in order of ids; those that wait at the end.</summary>
    public static IEnumerable<string> Lines(IReadOnlyList<DeviceEntry> known, DevicesReport? report)
    {
        var seen = (report?.Devices ?? []).ToDictionary(d => d.Id);
        foreach (DeviceEntry entry in known)
            yield return Line(entry.Id, StandingOf(entry), seen.GetValueOrDefault(entry.Id), report is not null, LimitsOf(entry));
        foreach (SeenDevice device in seen.Values.Where(s => known.All(k => k.Id != s.Id)).OrderBy(d => d.Id, StringComparer.Ordinal))
            yield return Line(device.Id, "not in the file", device, isAsked: true, "");
        foreach (WaitingDevice waiting in report?.Waiting ?? [])
        {
            yield return FormattableString.Invariant(
                $"{waiting.Id,-24} WAITS for approval, by {waiting.Authentication}, from {waiting.Address}{Firmware(waiting.Firmware)}, asked {waiting.Times} times, last {Ago(waiting.SeenSecondsAgo)}");
        }
    }

    private static string Line(string id, string standing, SeenDevice? seen, bool isAsked, string limits)
    {
        string presence = seen switch
        {
            null => isAsked ? "not seen" : "",
            { IsOnline: true } => $"online by {seen.Authentication} from {seen.Address}{Firmware(seen.Firmware)}",
            _ => $"seen {Ago(seen.SeenSecondsAgo)} by {seen.Authentication} from {seen.Address}{Firmware(seen.Firmware)}",
        };
        return string.Join("  ", new[] { $"{id,-24}", standing, presence, limits }.Where(part => part.Length > 0));
    }

    private static string StandingOf(DeviceEntry entry)
    {
        string since = KeyFileFormat.TextOf(entry.Added)[..10];
        if (entry.Revoked is { } revoked)
            return $"REVOKED {KeyFileFormat.TextOf(revoked)[..10]}";
        string former = entry.Former is { } overlap ? $", old key until {KeyFileFormat.TextOf(overlap.Until)}" : "";
        return $"{entry.Mode.ToString().ToLowerInvariant()} since {since}{former}";
    }

    private static string LimitsOf(DeviceEntry entry) =>
        entry.Permissions.IsSameAs(DevicePermissions.Unlimited) ? "" : $"({PermissionOptions.Describe(entry.Permissions)})";

    private static string Firmware(string firmware) => firmware.Length == 0 ? "" : $", firmware {SafeText.Clean(firmware)}";

    private static string Ago(double seconds) => seconds switch
    {
        < 120 => string.Create(CultureInfo.InvariantCulture, $"{seconds:0} s ago"),
        < 7200 => string.Create(CultureInfo.InvariantCulture, $"{seconds / 60:0} min ago"),
        < 172_800 => string.Create(CultureInfo.InvariantCulture, $"{seconds / 3600:0} h ago"),
        _ => string.Create(CultureInfo.InvariantCulture, $"{seconds / 86_400:0} d ago"),
    };
}
