using System.CommandLine;
using System.Text;

using IotTcpGateway.Configuration;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;

using Command = System.CommandLine.Command;

namespace IotTcpGateway.Cli;

/// <summary>iotgw device: the devices' keys.</summary>
internal static class DeviceCommand
{
    public static Command Create()
    {
        Command command = new(
            "device", "Add, list, revoke and rotate the keys of devices; a running gateway takes a change within a second.")
        {
            Verb("add", "Give a new device a key and print it, once.", (file, id) => PrintKey(file.Add(id, Now()))),
            Verb(
                "rotate",
                "Give a device a new key and print it, once; the old one is worth nothing from then on.",
                (file, id) => PrintKey(file.Rotate(id, Now()))),
            Verb("revoke", "Remove a device's key: its session ends at once, and it does not get in again.", Revoke),
            List(),
        };
        HelpWithExample.Add(command, "iotgw device add pump-7");
        return command;
    }

    private static Command Verb(string name, string description, Action<KeyFile, string> act)
    {
        var id = new Argument<string>("ID") { Description = "The device id: 1 to 64 of A-Z a-z 0-9 . _ -" };
        var options = new ConfigurationOptions();
        var command = new Command(name, description) { id };
        HelpWithExample.Add(command, $"iotgw device {name} pump-7");
        options.AddTo(command);
        command.SetAction(parsed =>
        {
            string device = parsed.GetValue(id)!;
            return Names.IsDeviceId(Encoding.UTF8.GetBytes(device))
                ? WithFile(options, parsed, file => act(file, device))
                : CommandLine.Fail(
                    ExitCode.WrongUsage,
                    $"\"{device}\" is no device id: 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with a dot, not \"local\" or \"status\"");
        });
        return command;
    }

    private static Command List()
    {
        var options = new ConfigurationOptions();
        var command = new Command("list", "List the devices that have a key.");
        HelpWithExample.Add(command, "iotgw device list");
        options.AddTo(command);
        command.SetAction(parsed => WithFile(options, parsed, file =>
        {
            foreach (DeviceKey device in file.Read())
                Console.WriteLine($"{device.Id,-40} added {device.Added}");
        }));
        return command;
    }

    private static int WithFile(ConfigurationOptions options, ParseResult parsed, Action<KeyFile> act)
    {
        ConfigurationResult result = options.Read(parsed);
        if (result.FaultBesidesCredentials is { } fault)
            return CommandLine.Fail(ExitCode.Bad, $"the configuration is bad: {fault}");
        try
        {
            act(new KeyFile(result.Configuration.Devices.File));
            return ExitCode.Fine;
        }
        catch (KeyFileException e)
        {
            return CommandLine.Fail(ExitCode.Bad, e.Message);
        }
    }

    private static void Revoke(KeyFile file, string id)
    {
        file.Revoke(id);
        Console.WriteLine($"device {id} is revoked");
    }

    private static void PrintKey(byte[] key) => Console.WriteLine(Convert.ToHexStringLower(key));

    private static DateTimeOffset Now() => TimeProvider.System.GetUtcNow();
}
