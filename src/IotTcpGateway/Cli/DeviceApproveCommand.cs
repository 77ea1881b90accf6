using System.CommandLine;

using IotTcpGateway.Health;
using IotTcpGateway.Keys;

namespace IotTcpGateway.Cli;

/// <summary>iotgw device approve: lets a device in that asked, and that nobody knew.</summary>
internal static class DeviceApproveCommand
{
    public static Command Create()
    {
        Argument<string> id = DeviceCommand.IdArgument();
        var options = new ConfigurationOptions();
        Option<string> socket = StatusCommand.SocketOption();
        var permissions = new PermissionOptions();
        var command = new Command("approve", "Let a device in that waits (devices.enrolment); \"iotgw device list\" shows who waits.") { id, socket };
        HelpWithExample.Add(command, "iotgw device approve pump-7");
        foreach (Option option in permissions.Options)
            command.Options.Add(option);
        options.AddTo(command);
        command.SetAction((parsed, stopping) => DeviceCommand.WithFileAsync(options, parsed, parsed.GetValue(id), async (file, _) =>
        {
            string device = parsed.GetValue(id)!;
            DevicesReport? report = await ControlClient.DevicesAsync(parsed.GetValue(socket)!, stopping).ConfigureAwait(false);
            if (report is null)
                return CommandLine.Fail(ExitCode.CouldNotRun, $"no gateway answers at {parsed.GetValue(socket)}: is it running? --socket names another place");
            if (report.Waiting.FirstOrDefault(w => w.Id == device) is not { } waiting)
                return CommandLine.Fail(ExitCode.Bad, $"device {device} does not wait: \"iotgw device list\" shows who does");
            DeviceMode mode = waiting.Authentication == "certificate" ? DeviceMode.Certificate : DeviceMode.None;
            file.Add(device, mode, permissions.Change(parsed, DevicePermissions.Unlimited), TimeProvider.System.GetUtcNow());
            Console.WriteLine($"device {device} from {waiting.Address} is let in by {waiting.Authentication}");
            return ExitCode.Fine;
        }));
        return command;
    }
}
