using System.CommandLine;

using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;

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
        var figures = new JournalFigures();
        using var progress = new BufferProgress(journal);
        using JournalView view = buffer.Open(journal, NewVisitor);
        progress.Dispose();
        // The ledger's entries are not told apart here.
        IReadOnlyList<string> findings = BufferFindings.Of(
            view.Report, journal.HoldsFrames ? figures : new JournalFigures(), buffer.IsInUse ?? false);
        Console.WriteLine(BufferText.Text(
            $"{journal.Name,-11} {figures.Entries} entries read in {view.Report.Segments} segments, {figures.Outstanding} not settled"));
        foreach (string finding in findings)
            Console.WriteLine($"  DAMAGED {finding}");
        return findings.Count == 0;

        RecordVisitor NewVisitor()
        {
            figures = new JournalFigures();
            return Visit;
        }

        void Visit(in JournalRecord record)
        {
            figures.Visit(record);
            progress.Show(figures.BytesRead);
        }
    }
}
