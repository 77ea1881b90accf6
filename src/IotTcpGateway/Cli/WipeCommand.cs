using System.CommandLine;
using System.Net.Sockets;

using IotTcpGateway.Buffer;
using IotTcpGateway.Configuration;
using IotTcpGateway.Escaping;
using IotTcpGateway.Files;
using IotTcpGateway.Health;
using IotTcpGateway.Journal;

using Microsoft.Win32.SafeHandles;

namespace IotTcpGateway.Cli;

/// <summary>iotgw wipe: removes keys, secrets and frames from this machine before it is given away.</summary>
internal static class WipeCommand
{
    private static readonly Option<bool> Yes = new("--yes") { Description = "Do not ask." };

    private static readonly Option<bool> DryRun = new("--dry-run") { Description = "Only list what would be removed." };

    public static Command Create()
    {
        var options = new ConfigurationOptions();
        Option<string> socket = StatusCommand.SocketOption();
        var command = new Command(
            "wipe", "Remove the devices' keys, the gateway's secrets and the buffer, for good; only while no gateway runs.")
        {
            Yes, DryRun, socket,
        };
        HelpWithExample.Add(command, "iotgw wipe --dry-run");
        options.AddTo(command);
        command.SetAction((parsed, stopping) => WipeAsync(parsed, options.Read(parsed), parsed.GetValue(socket)!, stopping));
        return command;
    }

    private static async Task<int> WipeAsync(
        ParseResult parsed, ConfigurationResult result, string socket, CancellationToken stopping)
    {
        if (!parsed.GetValue(Yes) && !parsed.GetValue(DryRun) && Console.IsInputRedirected)
        {
            return CommandLine.Fail(
                ExitCode.WrongUsage, "nobody can be asked here: --yes is wanted; see \"iotgw wipe --help\"");
        }

        // What is named by a configuration that is not understood may be anything. A file that is gone already keeps no gateway
        // from being wiped.
        if (result.FaultBesidesFiles is { } fault)
            return CommandLine.Fail(ExitCode.Bad, $"the configuration is bad: {fault}");
        if (await AnswersAsync(socket, stopping).ConfigureAwait(false))
            return Refuse($"a gateway runs (it answers at {socket})");
        try
        {
            return Wipe(parsed, result.Configuration);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return CommandLine.Fail(ExitCode.CouldNotRun, $"{e.Message}: wipe as the gateway's user or root");
        }
    }

    private static int Wipe(ParseResult parsed, GatewayConfiguration configuration)
    {
        var buffer = new BufferDirectory(configuration.Buffer.Directory);
        OwnerOfFolder.Become(buffer.Exists ? buffer.Path : Path.GetDirectoryName(configuration.Devices.File)!);
        // Only who wipes makes a lock where none is; who looks changes nothing.
        bool isDry = parsed.GetValue(DryRun);
        using SafeFileHandle? held = buffer.Exists && !isDry ? FileLock.TryTake(buffer.LockPath) : null;
        if (buffer.Exists && (isDry ? FileLock.IsTaken(buffer.LockPath) : held is null))
            return Refuse($"a gateway runs on {buffer.Path}");

        string? named = Environment.GetEnvironmentVariable("STATE_DIRECTORY");
        string state = string.IsNullOrEmpty(named) ? WipePlan.StateDirectory : named;
        WipePlan plan = WipePlan.Of(configuration, state);
        foreach (WipedFile file in plan.Removed)
            Console.WriteLine($"{file.Kind,-7} {Shown(file.Path)}  {BufferText.Size(file.Bytes)}");
        foreach (string left in plan.Left)
            Console.WriteLine($"stays   {Shown(left)}");
        if (plan.Removed.Count == 0)
        {
            Console.WriteLine("there is nothing to remove");
            return ExitCode.Fine;
        }

        string what = $"{plan.Removed.Count} files, {BufferText.Size(plan.Bytes)}";
        if (isDry)
        {
            Console.WriteLine($"would be removed: {what}");
            return ExitCode.Fine;
        }

        return parsed.GetValue(Yes) || IsSure(configuration.Gateway.Id, what)
            ? Remove(plan, what)
            : CommandLine.Fail(ExitCode.Bad, "nothing was removed");
    }

    private static int Refuse(string why) =>
        CommandLine.Fail(ExitCode.CouldNotRun, why + ": stop it first (systemctl stop iot-tcp-gateway)");

    private static string Shown(string text) => SafeText.Clean(text, SafeText.LineCharactersMax);

    private static bool IsSure(string gateway, string what)
    {
        Console.Write($"Remove {what}, for good? Frames not delivered are lost. Type the gateway's id, {gateway}: ");
        return gateway.Length > 0 && Console.ReadLine()?.Trim() == gateway;
    }

    private static int Remove(WipePlan plan, string what)
    {
        int failed = 0;
        using var progress = new WipeProgress(plan.Removed.Count);
        foreach (WipedFile file in plan.Removed)
        {
            failed += Try(file.Path, File.Delete);
            progress.Show();
        }

        // What stays keeps its folder.
        foreach (string folder in plan.Folders.Where(f => !Directory.EnumerateFileSystemEntries(f).Any()))
            failed += Try(folder, Directory.Delete);
        // Else a power cut now could bring the names back.
        IEnumerable<string> changed = plan.Removed.Select(f => f.Path).Concat(plan.Folders).Select(p => Path.GetDirectoryName(p)!);
        foreach (string folder in changed.Distinct())
        {
            if (Directory.Exists(folder) && new PosixDisk(folder).SyncDirectory() is { IsNone: false } error)
                failed += Fail($"{folder}: {error}");
        }

        if (failed > 0)
            return CommandLine.Fail(ExitCode.Bad, $"{failed} of {plan.Removed.Count} files and their folders could not be removed");
        Console.WriteLine($"removed: {what}");
        return ExitCode.Fine;
    }

    private static int Try(string path, Action<string> remove)
    {
        try
        {
            remove(path);
            return 0;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Fail($"{path} could not be removed: {e.Message}");
        }
    }

    private static int Fail(string what)
    {
        CommandLine.Fail(ExitCode.Bad, what);
        return 1;
    }

    private static async Task<bool> AnswersAsync(string socket, CancellationToken stopping)
    {
        try
        {
            await ControlClient.RequestAsync(socket, ControlSocket.StatusRequest, stopping).ConfigureAwait(false);
            return true;
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            return false;
        }
        catch (Exception e) when (e is IOException or OperationCanceledException && !stopping.IsCancellationRequested)
        {
            // It took the connection: it is there, and busy.
            return true;
        }
    }
}
