using System.CommandLine;

using IotTcpGateway.Buffer;

namespace IotTcpGateway.Cli;

/// <summary>iotgw buffer verify: reads everything and tells the damage.</summary>
internal static class BufferVerifyCommand
{
    public static Command Create()
    {
        var target = new BufferTarget();
        var command = new Command("verify", "Read everything, check every checksum, and say what is damaged and what it costs.");
        HelpWithExample.Add(command, "iotgw buffer verify --directory /mnt/card/buffer");
        target.AddTo(command);
        command.SetAction((parsed, _) => target.UseAsync(parsed, Verify));
        return command;
    }

    private static int Verify(LookedAtBuffer buffer)
    {
        bool isWhole = true;
        foreach (BufferJournal journal in buffer.Directory.Journals())
            isWhole &= Verify(buffer, journal);
        if (isWhole)
            Console.WriteLine($"{buffer.Directory.Path} is whole");
        return isWhole ? ExitCode.Fine : ExitCode.Bad;
    }

    private static bool Verify(LookedAtBuffer buffer, BufferJournal journal)
    {
        using var progress = new BufferProgress(journal);
        var look = LookedAtJournal.Read(buffer, journal, progress.Show);
        progress.Dispose();
        Console.WriteLine(BufferText.Text(
            $"{journal.Name,-11} {look.Figures.Entries} entries read in {look.Report.Segments} segments, {look.Waiting} {Kind(journal)} waiting"));
        foreach (string finding in look.Findings)
            Console.WriteLine($"  DAMAGED {finding}");
        return look.Findings.Count == 0;
    }

    private static string Kind(BufferJournal journal) => journal.HoldsFrames ? "frames" : "reports";
}
