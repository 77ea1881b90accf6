using System.CommandLine;
using System.Text;

using IotTcpGateway.Configuration;
using IotTcpGateway.Escaping;
using IotTcpGateway.Files;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;

using Command = System.CommandLine.Command;

namespace IotTcpGateway.Cli;

/// <summary>iotgw device: who may come in, with what key, and what he may do.</summary>
internal static class DeviceCommand
{
    private const string DefaultOverlap = "24h";

    public static Command Create()
    {
        Command command = new(
            "device",
            "The devices: add, list, permit, rotate, revoke, approve. A running gateway takes a change within a second.")
        {
            Add(),
            DeviceListCommand.Create(),
            Permit(),
            Rotate(),
            Revoke(),
            DeviceApproveCommand.Create(),
        };
        HelpWithExample.Add(command, "iotgw device add pump-7");
        return command;
    }

    /// <summary>Runs a verb on one device: reads the configuration, checks the id, says what is wrong.</summary>
    public static async Task<int> WithFileAsync(
        ConfigurationOptions options, ParseResult parsed, string? id, Func<KeyFile, GatewayConfiguration, Task<int>> act)
    {
        if (id is not null && !Names.IsDeviceId(Encoding.UTF8.GetBytes(id)))
        {
            return CommandLine.Fail(
                ExitCode.WrongUsage,
                $"\"{SafeText.Clean(id)}\" is no device id: 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot, not \"local\" or \"status\"");
        }

        ConfigurationResult result = options.Read(parsed);
        if (result.FaultBesidesFiles is { } fault)
            return CommandLine.Fail(ExitCode.Bad, $"the configuration is bad: {fault}");
        try
        {
            OwnerOfFolder.Become(Path.GetDirectoryName(result.Configuration.Devices.File)!);
            return await act(new KeyFile(result.Configuration.Devices.File), result.Configuration).ConfigureAwait(false);
        }
        catch (Exception e) when (e is KeyFileException or IOException)
        {
            return CommandLine.Fail(ExitCode.Bad, e.Message);
        }
    }

    public static Argument<string> IdArgument() =>
        new("ID") { Description = "The device id: 1 to 64 of A-Z a-z 0-9 . _ -" };

    private static Command Add()
    {
        var mode = new Option<string>("--authentication")
        {
            Description = "How it shows who it is: hmac (with a key, printed once), certificate, or none.",
            HelpName = "hmac|certificate|none",
            DefaultValueFactory = _ => "hmac",
        };
        mode.AcceptOnlyFromAmong("hmac", "certificate", "none");
        Option<KeyFormat?> format = KeyHandout.FormatOption();
        var permissions = new PermissionOptions();
        return Verb("add", "Let a device in; prints its new key, once.", "iotgw device add pump-7", [mode, format, .. permissions.Options],
            (file, id, parsed, configuration) =>
            {
                DevicePermissions permitted = permissions.Change(parsed, DevicePermissions.Unlimited);
                byte[]? key = file.Add(id, ModeOf(parsed.GetValue(mode)!), permitted, Now());
                if (key is not null)
                    HandOut(parsed, format, configuration, id, key);
                else
                    Console.WriteLine($"device {id} is let in by {parsed.GetValue(mode)}");
            });
    }

    private static Command Permit()
    {
        var permissions = new PermissionOptions();
        return Verb(
            "permit",
            "Change what a device may do; what is not named stays as it is.",
            "iotgw device permit pump-7 --channels \"pump/#\" --priority 3",
            permissions.Options,
            (file, id, parsed, configuration) =>
            {
                file.Permit(id, before => permissions.Change(parsed, before));
                Console.WriteLine($"device {id}: {PermissionOptions.Describe(file.Read().First(d => d.Id == id).Permissions)}");
            });
    }

    private static Command Rotate()
    {
        var overlap = new Option<TimeSpan>("--overlap")
        {
            Description = $"How long the old key works beside the new one; 0s for not at all. [default: {DefaultOverlap}]",
            HelpName = "DURATION",
            CustomParser = result =>
            {
                if (Quantities.TryParseDuration(result.Tokens[0].Value, out TimeSpan duration))
                    return duration;
                result.AddError($"--overlap is a duration such as {DefaultOverlap}, 7d or 0s");
                return default;
            },
            DefaultValueFactory = _ => TimeSpan.FromHours(24),
        };
        var finish = new Option<bool>("--finish") { Description = "Make no new key: only end the overlap, the old one is worth nothing then." };
        Option<KeyFormat?> format = KeyHandout.FormatOption();
        return Verb(
            "rotate", "Give a device a new key and print it, once; both keys work for a while.", "iotgw device rotate pump-7 --overlap 7d",
            [overlap, finish, format],
            (file, id, parsed, configuration) =>
            {
                if (!parsed.GetValue(finish))
                {
                    HandOut(parsed, format, configuration, id, file.Rotate(id, parsed.GetValue(overlap), Now()));
                    return;
                }

                file.EndOverlap(id);
                Console.WriteLine($"device {id} has one key");
            });
    }

    private static Command Revoke()
    {
        var forget = new Option<bool>("--forget")
        {
            Description = "Remove the id from the file too: it is then one that nobody knows, and may come in where those may.",
        };
        return Verb(
            "revoke", "Let a device in no more, in no way: its session ends at once.", "iotgw device revoke pump-7", [forget],
            (file, id, parsed, configuration) =>
            {
                if (parsed.GetValue(forget))
                    file.Forget(id);
                else
                    file.Revoke(id, Now());
                Console.WriteLine($"device {id} is {(parsed.GetValue(forget) ? "forgotten" : "revoked")}");
            });
    }

    private static Command Verb(
        string name, string description, string example, IEnumerable<Option> own, Action<KeyFile, string, ParseResult, GatewayConfiguration> act)
    {
        Argument<string> id = IdArgument();
        var options = new ConfigurationOptions();
        var command = new Command(name, description) { id };
        HelpWithExample.Add(command, example);
        foreach (Option option in own)
            command.Options.Add(option);
        options.AddTo(command);
        command.SetAction((parsed, _) => WithFileAsync(options, parsed, parsed.GetValue(id), (file, configuration) =>
        {
            act(file, parsed.GetValue(id)!, parsed, configuration);
            return Task.FromResult(ExitCode.Fine);
        }));
        return command;
    }

    private static DeviceMode ModeOf(string word) => word switch
    {
        "certificate" => DeviceMode.Certificate,
        "none" => DeviceMode.None,
        _ => DeviceMode.Hmac,
    };

    private static void HandOut(
        ParseResult parsed, Option<KeyFormat?> option, GatewayConfiguration configuration, string id, byte[] key)
    {
        bool isTerminal = !Console.IsOutputRedirected;
        KeyFormat format = parsed.GetValue(option) ?? KeyHandout.DefaultFormat(isTerminal);
        Console.Write(KeyHandout.Write(format, id, key, KeyHandout.PlaceOf(configuration), isTerminal));
    }

    private static DateTimeOffset Now() => TimeProvider.System.GetUtcNow();
}
