using System.CommandLine;
using System.Globalization;
using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;

using Command = System.CommandLine.Command;

namespace IotTcpGateway.Cli;

/// <summary>iotgw buffer dump: a line a frame.</summary>
internal static class BufferDumpCommand
{
    private static readonly Option<int?> Lane = LaneOption("Only the frames of this priority, 1 to 3.");

    private static readonly Option<string?> Device = DeviceOption();

    private static readonly Option<long?> Limit = new("--limit") { Description = "End after so many frames.", HelpName = "N" };

    private static readonly Option<bool> All = new("--all") { Description = "Show settled frames too that are still there." };

    private static readonly Option<bool> Quarantine = new("--quarantine")
    {
        Description = "The frames that were refused for good, instead of those that wait.",
    };

    public static Command Create()
    {
        var target = new BufferTarget();
        var command = new Command("dump", "Print the frames on disk, a line each, oldest first.") { Lane, Device, Limit, All, Quarantine };
        HelpWithExample.Add(command, "iotgw buffer dump --device pump-7 --limit 20");
        target.AddTo(command);
        command.SetAction((parsed, _) => Problem(parsed) is { Length: > 0 } problem
            ? Task.FromResult(CommandLine.Fail(ExitCode.WrongUsage, $"{problem}; see \"iotgw buffer dump --help\""))
            : target.UseAsync(parsed, buffer => Dump(parsed, buffer)));
        return command;
    }

    public static Option<int?> LaneOption(string description) => new("--lane") { Description = description, HelpName = "N" };

    public static Option<string?> DeviceOption() => new("--device") { Description = "Only the frames of this device.", HelpName = "ID" };

    /// <summary>What is wrong with a lane's number; empty if nothing.</summary>
    public static string LaneProblem(int? lane) =>
        lane is null or (>= 1 and <= BufferDirectory.LaneMax) ? "" : $"--lane wants 1 to {BufferDirectory.LaneMax}";

    private static string Problem(ParseResult parsed)
    {
        if (parsed.GetValue(Limit) is < 1)
            return "--limit wants at least 1";
        return parsed.GetValue(Quarantine) && parsed.GetValue(Lane) is not null
            ? "give either --lane or --quarantine"
            : LaneProblem(parsed.GetValue(Lane));
    }

    private static int Dump(ParseResult parsed, LookedAtBuffer buffer)
    {
        long left = parsed.GetValue(Limit) ?? long.MaxValue;
        byte[]? device = parsed.GetValue(Device) is { } id ? Encoding.UTF8.GetBytes(id) : null;
        using var output = new StreamWriter(Console.OpenStandardOutput());
        bool isWhole = true;
        foreach (BufferJournal journal in buffer.Directory.Journals().Where(j => IsWanted(parsed, j)))
        {
            if (left > 0)
                isWhole &= buffer.ReadFrames(journal, parsed.GetValue(All), Show);
        }

        output.Flush();
        return isWhole ? ExitCode.Fine : SayDamaged();

        bool Show(in StoredFrame stored)
        {
            if (device is not null && !stored.Frame.DeviceId.SequenceEqual(device))
                return true;
            output.WriteLine(LineOf(stored));
            return --left > 0;
        }
    }

    /// <summary>Says that there is damage, and where to hear more.</summary>
    public static int SayDamaged() => CommandLine.Fail(
        ExitCode.Bad, "a part of the buffer is damaged, and what is in there missing here: \"iotgw buffer verify\" says what");

    private static bool IsWanted(ParseResult parsed, BufferJournal journal) => parsed.GetValue(Quarantine)
        ? journal.IsQuarantine
        : journal.Lane > 0 && (parsed.GetValue(Lane) ?? journal.Lane) == journal.Lane;

    /// <summary>A frame in one line; text from devices is escaped.</summary>
    public static string LineOf(in StoredFrame stored)
    {
        SpilledFrame frame = stored.Frame;
        var line = new StringBuilder();
        line.Append(CultureInfo.InvariantCulture, $"{stored.Journal.Name} {stored.Id} {FrameExplainer.Escape(frame.DeviceId)}");
        line.Append(CultureInfo.InvariantCulture, $" boot {frame.BootId} seq {frame.Sequence} {BufferText.Time(frame.Arrival)}");
        line.Append(CultureInfo.InvariantCulture, $" {frame.Body.Length} B");
        if (!frame.Reason.IsEmpty)
            line.Append(CultureInfo.InvariantCulture, $" reason \"{FrameExplainer.Escape(frame.Reason)}\"");
        if (stored.IsSettled)
            line.Append(" settled");
        var data = new DataReader(frame.Body);
        while (data.TryRead(out DataRecord record))
            AppendValue(line, record, stored.Channels);
        if (DataReader.Check(frame.Body, out int whole) is not DataFault.None and DataFault fault)
            line.Append(CultureInfo.InvariantCulture, $" (value {whole + 1}: {fault})");
        return line.ToString();
    }

    private static void AppendValue(StringBuilder line, in DataRecord record, ChannelTable channels)
    {
        string name = channels.Find(record.Channel)?.Name ?? BufferText.Text($"ch{record.Channel}");
        line.Append(' ').Append(FrameExplainer.Escape(name)).Append('=').Append(FrameExplainer.Value(record));
        if (record.OffsetMilliseconds > 0)
            line.Append(CultureInfo.InvariantCulture, $"@+{record.OffsetMilliseconds}ms");
    }
}
