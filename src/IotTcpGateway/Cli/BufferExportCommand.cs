using System.CommandLine;
using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Files;

namespace IotTcpGateway.Cli;

/// <summary>iotgw buffer export: what would have been published, a line of JSON each.</summary>
internal static class BufferExportCommand
{
    private const int StreamBufferBytes = 64 * 1024;

    private static readonly Option<string?> Device = BufferDumpCommand.DeviceOption();

    private static readonly Option<bool> Quarantine = new("--quarantine")
    {
        Description = "The frames that were refused for good, with the reason, instead of those that wait.",
    };

    private static readonly Option<string?> Output = new("--output")
    {
        Description = "A new file, synced at the end; without it standard output.",
        HelpName = "FILE",
    };

    public static Command Create()
    {
        var target = new BufferTarget();
        var command = new Command(
            "export", "Write what waits on disk as JSON lines: topic and payload of each message as it would have been published.")
        {
            Device, Quarantine, Output,
        };
        HelpWithExample.Add(command, "iotgw buffer export --config gateway.json --output outage.jsonl");
        target.AddTo(command);
        command.SetAction((parsed, _) => target.UseAsync(parsed, buffer => Export(parsed, buffer)));
        return command;
    }

    private static int Export(ParseResult parsed, LookedAtBuffer buffer)
    {
        if (parsed.GetValue(Output) is not { } path)
        {
            using Stream output = new BufferedStream(Console.OpenStandardOutput(), StreamBufferBytes);
            return Export(parsed, buffer, output);
        }

        var options = new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            BufferSize = StreamBufferBytes,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        };
        if (File.Exists(path))
            return CommandLine.Fail(ExitCode.CouldNotRun, $"{path} is there already: name another file, or remove it");
        using var file = new FileStream(path, options);
        int code = Export(parsed, buffer, file);
        AtomicFile.SyncNew(file);
        return code;
    }

    private static int Export(ParseResult parsed, LookedAtBuffer buffer, Stream output)
    {
        byte[]? device = parsed.GetValue(Device) is { } id ? Encoding.UTF8.GetBytes(id) : null;
        using var lines = new MessageLines(buffer.Configuration, buffer.Clock, output);
        bool isWhole = true;
        foreach (BufferJournal journal in buffer.Directory.Journals())
        {
            if (parsed.GetValue(Quarantine) ? journal.IsQuarantine : journal.Lane > 0)
                isWhole &= buffer.ReadFrames(journal, readsSettled: false, Write);
        }

        output.Flush();
        Console.Error.WriteLine(BufferText.Text($"{lines.Messages} messages of {lines.Frames} frames"));
        if (lines.FramesWithoutMessage > 0)
        {
            return CommandLine.Fail(
                ExitCode.Bad, BufferText.Text($"no payload can be made of {lines.FramesWithoutMessage} frames: \"iotgw buffer dump\" shows them"));
        }

        return isWhole ? ExitCode.Fine : BufferDumpCommand.SayDamaged();

        bool Write(in StoredFrame stored)
        {
            if (device is null || stored.Frame.DeviceId.SequenceEqual(device))
                lines.Write(stored);
            return true;
        }
    }
}
