using System.CommandLine;

using IotTcpGateway.Buffer;
using IotTcpGateway.Files;

using Microsoft.Win32.SafeHandles;

namespace IotTcpGateway.Cli;

/// <summary>iotgw buffer drop: gives frames up that are on disk.</summary>
internal static class BufferDropCommand
{
    private static readonly Option<bool> All = new("--all") { Description = "Everything: all lanes, and the quarantine." };

    private static readonly Option<int?> Lane = BufferDumpCommand.LaneOption("The frames of this priority, 1 to 3.");

    private static readonly Option<bool> Quarantine = new("--quarantine") { Description = "The frames that were refused for good." };

    private static readonly Option<bool> Yes = new("--yes") { Description = "Do not ask." };

    public static Command Create()
    {
        var target = new BufferTarget();
        var command = new Command(
            "drop", "Give up frames on disk, for good, and free their room; only while no gateway runs on it.")
        {
            All, Lane, Quarantine, Yes,
        };
        HelpWithExample.Add(command, "iotgw buffer drop --lane 3");
        target.AddTo(command);
        command.SetAction((parsed, _) => Problem(parsed) is { Length: > 0 } problem
            ? Task.FromResult(CommandLine.Fail(ExitCode.WrongUsage, $"{problem}; see \"iotgw buffer drop --help\""))
            : target.UseAsync(parsed, buffer => Drop(parsed, buffer)));
        return command;
    }

    private static string Problem(ParseResult parsed)
    {
        int? lane = parsed.GetValue(Lane);
        bool[] chosen = [parsed.GetValue(All), lane is not null, parsed.GetValue(Quarantine)];
        if (chosen.Count(c => c) != 1)
            return "give one of --all, --lane and --quarantine";
        return !parsed.GetValue(Yes) && Console.IsInputRedirected
            ? "nobody can be asked here: --yes is wanted"
            : BufferDumpCommand.LaneProblem(lane);
    }

    private static int Drop(ParseResult parsed, LookedAtBuffer buffer)
    {
        // What root would write must not keep out the service's user, nor lead root where he likes.
        OwnerOfFolder.Become(buffer.Directory.Path);
        using SafeFileHandle? held = FileLock.TryTake(buffer.Directory.LockPath);
        if (held is null)
        {
            return CommandLine.Fail(
                ExitCode.CouldNotRun, $"a gateway runs on {buffer.Directory.Path}: stop it first (systemctl stop iot-tcp-gateway)");
        }

        BufferJournal[] journals = [.. buffer.Directory.Journals().Where(j => IsWanted(parsed, j))];
        var waiting = new DroppedFrames();
        foreach (BufferJournal journal in journals)
            buffer.ReadFrames(journal, readsSettled: false, Count);
        if (!parsed.GetValue(Yes) && !IsSure(waiting))
            return CommandLine.Fail(ExitCode.Bad, "nothing was dropped");
        using var drop = new OperatorDrop(buffer);
        foreach (BufferJournal journal in journals)
        {
            DroppedFrames dropped = drop.Drop(journal);
            foreach (string line in dropped.Lines())
                Console.WriteLine($"{journal.Name} {line}");
            Console.WriteLine($"{journal.Name}: dropped {dropped}");
        }

        return ExitCode.Fine;

        bool Count(in StoredFrame stored)
        {
            waiting.Add(stored.Frame);
            return true;
        }
    }

    private static bool IsWanted(ParseResult parsed, BufferJournal journal) => journal.HoldsFrames
        && (parsed.GetValue(All)
            || (parsed.GetValue(Quarantine) && journal.IsQuarantine)
            || (journal.Lane > 0 && journal.Lane == parsed.GetValue(Lane)));

    private static bool IsSure(DroppedFrames waiting)
    {
        Console.Write($"Give up {waiting}, for good? [y/N] ");
        return Console.ReadLine()?.Trim().ToUpperInvariant() is "Y" or "YES";
    }
}
