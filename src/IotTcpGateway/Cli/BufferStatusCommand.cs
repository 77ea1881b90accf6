using System.CommandLine;
using System.Net.Sockets;
using System.Text.Json;
using IotTcpGateway.Buffer;
using IotTcpGateway.Health;
using IotTcpGateway.Journal;

namespace IotTcpGateway.Cli;

/// <summary>iotgw buffer status: how much is on disk, and for how long there is room.</summary>
internal static class BufferStatusCommand
{
    public static Command Create()
    {
        var target = new BufferTarget();
        Option<string> socket = StatusCommand.SocketOption();
        var json = new Option<bool>("--json") { Description = "Print JSON for programs." };
        var command = new Command(
            "status", "Say what waits on disk, in what state it is, and how many hours are left until it is full.")
        {
            socket, json,
        };
        HelpWithExample.Add(command, "iotgw buffer status --json");
        target.AddTo(command);
        command.SetAction((parsed, stopping) => target.UseAsync(parsed, async buffer =>
        {
            StoredBufferStatus status = Look(buffer);
            if (status.IsInUse ?? true)
                status = await AskAsync(parsed.GetValue(socket)!, status, stopping).ConfigureAwait(false);
            if (parsed.GetValue(json))
                Console.WriteLine(JsonSerializer.Serialize(status, StoredBufferJson.Default.StoredBufferStatus));
            else
                status.Print(Console.Out);
            return ExitCode.Fine;
        }));
        return command;
    }

    private static StoredBufferStatus Look(LookedAtBuffer buffer)
    {
        var rate = new ArrivalRate();
        var journals = new List<StoredJournalStatus>();
        foreach (BufferJournal journal in buffer.Directory.Journals())
            journals.Add(Look(buffer, journal, rate));
        long used = journals.Where(j => j.Lane > 0).Sum(j => j.DiskBytes);
        new PosixDisk(buffer.Directory.Path, isReadOnly: true).FreeBytes(out long free);
        long room = Math.Min(Math.Max(buffer.Configuration.Buffer.Disk - used, 0), free);
        double? bytesPerSecond = rate.BytesPerSecond;
        return new StoredBufferStatus(
            buffer.Directory.Path,
            buffer.IsInUse,
            used,
            buffer.Configuration.Buffer.Disk,
            free,
            bytesPerSecond,
            bytesPerSecond > 0 ? room / bytesPerSecond : null,
            IsGatewaysWord: false,
            journals);
    }

    private static StoredJournalStatus Look(LookedAtBuffer buffer, BufferJournal journal, ArrivalRate rate)
    {
        var look = LookedAtJournal.Read(buffer, journal);
        JournalFigures figures = look.Figures;
        if (journal.Lane > 0)
            rate.Add(figures.Rate);
        return new StoredJournalStatus(
            journal.Name,
            journal.Lane,
            look.Waiting,
            figures.Bytes,
            look.DiskBytes,
            StoredArrival.Of(figures.Oldest),
            StoredArrival.Of(figures.Newest),
            look.Findings);
    }

    // The gateway knows how fast frames come now, and what it has in memory.
    private static async Task<StoredBufferStatus> AskAsync(string socket, StoredBufferStatus status, CancellationToken stopping)
    {
        try
        {
            string answer = await ControlClient.RequestAsync(socket, ControlSocket.StatusRequest, stopping).ConfigureAwait(false);
            return status.With(answer);
        }
        catch (Exception e) when (e is SocketException or ArgumentException or IOException or JsonException)
        {
            return status;
        }
        catch (OperationCanceledException) when (!stopping.IsCancellationRequested)
        {
            return status;
        }
    }
}
