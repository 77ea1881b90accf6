using System.Diagnostics;
using System.Text.Json;

using IotTcpGateway.Buffer;
using IotTcpGateway.Files;
using IotTcpGateway.Journal;
using IotTcpGateway.Protocol;
using IotTcpGateway.Tests.Buffer;

using Xunit;

namespace IotTcpGateway.Tests.Cli;

/// <summary>The verbs as processes, on directories that a gateway could have left.</summary>
public sealed class BufferVerbsTests : IDisposable
{
    private readonly StoredBuffer buffer = new();

    public void Dispose() => buffer.Dispose();

    [Fact]
    public void Status_LanesAndQuarantine_CountsThemAndSaysWhenItIsFull()
    {
        buffer.Fill("lane-1", frames: 20, settled: 5);
        buffer.Fill("quarantine", frames: 2, reason: "payload-too-large");
        Ran ran = Run("status", "--json", "--set", "buffer.disk=4 MiB");
        Assert.Equal((0, ""), (ran.Code, ran.Error));
        JsonElement status = JsonDocument.Parse(ran.Output).RootElement;
        JsonElement lane = status.GetProperty("journals")[0];
        Assert.Equal(15, lane.GetProperty("waiting").GetInt32());
        Assert.Equal(StoredBuffer.Arrived + 6000, lane.GetProperty("oldest").GetProperty("unixMilliseconds").GetInt64());
        Assert.Equal(2, status.GetProperty("journals")[1].GetProperty("waiting").GetInt32());
        Assert.False(status.GetProperty("isInUse").GetBoolean());
        // A frame a second, of some 80 bytes on disk each.
        Assert.InRange(status.GetProperty("bytesPerSecond").GetDouble(), 50, 120);
        double room = (4 << 20) - status.GetProperty("diskBytes").GetDouble();
        Assert.Equal(
            room / status.GetProperty("bytesPerSecond").GetDouble(),
            status.GetProperty("secondsUntilFull").GetDouble(),
            tolerance: 1);
        Ran text = Run("status");
        Assert.Contains("15 frames waiting", text.Output, StringComparison.Ordinal);
        Assert.Contains("none runs on it", text.Output, StringComparison.Ordinal);
        Assert.Contains("hours at", text.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Status_LockHeld_SaysThatAGatewayRuns()
    {
        buffer.Fill("lane-1", frames: 1);
        using (FileLock.Take(buffer.PathOf(".lock")))
            Assert.Contains("runs on it", Run("status", "--socket", buffer.PathOf("none.sock")).Output, StringComparison.Ordinal);
        Assert.Contains("none runs on it", Run("status").Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Verify_WholeThenDamaged_ExitsWith0Then1()
    {
        buffer.Fill("lane-3", frames: 5);
        Ran whole = Run("verify");
        Assert.Equal((0, ""), (whole.Code, whole.Error));
        Assert.Contains("is whole", whole.Output, StringComparison.Ordinal);

        string segment = Directory.GetFiles(buffer.PathOf("lane-3"), "*.seg").Single();
        byte[] bytes = File.ReadAllBytes(segment);
        bytes[300] ^= 1;
        File.WriteAllBytes(segment, bytes);
        Ran damaged = Run("verify");
        Assert.Equal(1, damaged.Code);
        Assert.Contains("DAMAGED", damaged.Output, StringComparison.Ordinal);
        Assert.Contains("1 entry lost", damaged.Output, StringComparison.Ordinal);
        Assert.Equal(1, Run("export").Code);
    }

    [Fact]
    public void Verify_NoDirectory_ExitsWith3AndOneLine()
    {
        Ran ran = RunAt(buffer.PathOf("nowhere"), "verify");
        Assert.Equal((3, ""), (ran.Code, ran.Output));
        Assert.Single(ran.Error.TrimEnd().Split('\n'));
        Assert.Contains("nowhere", ran.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Dump_TextOfADevice_IsEscaped()
    {
        using (RecordJournal journal = buffer.Open("lane-1"))
        {
            buffer.Table(journal, 1, new Channel(1, DataType.Text, "na\u001bme", ""));
            var bytes = new byte[64];
            var writer = new DataWriter(bytes, 0);
            writer.AddRaw(1, DataType.Text, 0, "a\n\u001b[2J\u202e"u8);
            writer.AddRaw(2, DataType.U8, 7, [5]);
            buffer.Frame(
                journal, "pump-7", 1, body: bytes[..writer.Written], arrival: new Arrival(StoredBuffer.Arrived, 5, IsSynchronised: false));
        }

        Ran ran = Run("dump");
        Assert.Equal((0, ""), (ran.Code, ran.Error));
        Assert.Equal(
            "lane-1 2 pump-7 boot 287454020 seq 1 2025-11-23T12:13:20.123Z? 33 B "
                + "na\\u001bme=\"a\\u000a\\u001b[2J\\u202e\" ch2=5@+7ms\n",
            ran.Output);
    }

    [Fact]
    public void Dump_LaneDeviceAndLimit_Choose()
    {
        buffer.Fill("lane-1", frames: 5, settled: 1);
        buffer.Fill("lane-3", frames: 2);
        Assert.Equal(6, Lines("dump"));
        Assert.Equal(7, Lines("dump", "--all"));
        Assert.Equal(2, Lines("dump", "--lane", "3"));
        Assert.Equal(5, Lines("dump", "--limit", "5"));
        Assert.Equal(0, Lines("dump", "--device", "pump-8"));
        Assert.Equal(0, Lines("dump", "--quarantine"));
    }

    [Theory]
    [InlineData("dump", "--lane", "4")]
    [InlineData("dump", "--limit", "0")]
    [InlineData("drop")]
    [InlineData("drop", "--all", "--quarantine", "--yes")]
    [InlineData("drop", "--all")]
    [InlineData("drop", "--lane", "0", "--yes")]
    public void Verb_WrongUsage_ExitsWith2AndOneLine(params string[] arguments)
    {
        buffer.Fill("lane-1", frames: 1);
        Ran ran = Run(arguments);
        Assert.Equal((2, ""), (ran.Code, ran.Output));
        Assert.Single(ran.Error.TrimEnd().Split('\n'));
        Assert.Equal(1, Lines("dump"));
    }

    [Fact]
    public void Export_Frames_AreWhatWouldHaveBeenPublished()
    {
        buffer.Fill("lane-1", frames: 1);
        using (RecordJournal journal = buffer.Open("lane-2"))
        {
            buffer.Frame(journal, "pump-8", 7, table: 0, body: StoredBuffer.Body(2, 0), arrival: new Arrival(5000, 9, IsSynchronised: false));
            buffer.Frame(journal, "pump-8", 8, table: 0, body: StoredBuffer.Body(3, 0));
        }

        Ran ran = Run("export", "--set", "gateway.id=box");
        Assert.Equal(0, ran.Code);
        Assert.Equal(
            [
                """{"topic":"telemetry/box/pump-7","payload":{"device":"pump-7","boot":287454020,"seq":1,"ts":1763900000000,"values":{"temperature":1}}}""",
                """{"topic":"telemetry/box/pump-8","payload":{"device":"pump-8","boot":287454020,"seq":7,"ts":5000,"timeQuality":"unsynced","values":{"ch1":2}}}""",
                """{"topic":"telemetry/box/pump-8","payload":{"device":"pump-8","boot":287454020,"seq":8,"ts":1763900008123,"timeQuality":"arrival","values":{"ch1":3}}}""",
            ],
            ran.Output.TrimEnd().Split('\n'));
        Assert.Equal(2, Lines("export", "--device", "pump-8"));
        Assert.Contains(
            "\"topic\":\"t/pump-7/temperature\"",
            Run("export", "--set", "mqtt.topic=t/{device}/{channel}").Output,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Export_RawPayload_IsBase64WithItsProperties()
    {
        buffer.Fill("lane-1", frames: 1);
        Ran ran = Run("export", "--set", "gateway.id=box", "--set", "mqtt.payload=raw");
        string body = Convert.ToBase64String(StoredBuffer.Body(1));
        Assert.Equal(
            """{"topic":"telemetry/box/pump-7","base64":"BODY","userProperties":{"boot":"287454020","seq":"1"}}"""
                .Replace("BODY", body, StringComparison.Ordinal),
            ran.Output.TrimEnd());
    }

    [Fact]
    public void Export_Quarantine_HasTheReason()
    {
        buffer.Fill("lane-1", frames: 1);
        buffer.Fill("quarantine", frames: 1, reason: "packet-too-large");
        Ran ran = Run("export", "--quarantine");
        Assert.EndsWith("},\"reason\":\"packet-too-large\"}\n", ran.Output, StringComparison.Ordinal);
        Assert.Single(ran.Output.TrimEnd().Split('\n'));
        Assert.Contains("reason \"packet-too-large\"", Run("dump", "--quarantine").Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Export_ToAFile_WritesItOnceAndForTheOwnerAlone()
    {
        buffer.Fill("lane-1", frames: 3);
        string file = buffer.PathOf("out.jsonl");
        Ran ran = Run("export", "--output", file);
        Assert.Equal((0, ""), (ran.Code, ran.Output));
        Assert.Equal(3, File.ReadAllLines(file).Length);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        Assert.Equal(3, Run("export", "--output", file).Code);
        Assert.Equal(3, File.ReadAllLines(file).Length);
    }

    [Fact]
    public void ReadingVerbs_ChangeNothing()
    {
        buffer.Fill("lane-1", frames: 30, settled: 3);
        buffer.Fill("quarantine", frames: 1, reason: "refused");
        Assert.Equal(0, Run("drop", "--lane", "3", "--yes").Code); // makes a ledger
        File.WriteAllText(buffer.PathOf(".lock"), "");
        string before = buffer.Print();
        foreach (string verb in new[] { "status", "verify", "dump", "export" })
            Assert.Equal(0, Run(verb).Code);
        Assert.Equal(before, buffer.Print());
    }

    [Fact]
    public void Drop_GatewayRuns_IsRefused()
    {
        buffer.Fill("lane-1", frames: 2);
        using (FileLock.Take(buffer.PathOf(".lock")))
        {
            Ran ran = Run("drop", "--all", "--yes");
            Assert.Equal((3, ""), (ran.Code, ran.Output));
            Assert.Contains("stop it first", ran.Error, StringComparison.Ordinal);
        }

        Assert.Equal(2, Lines("dump"));
    }

    [Fact]
    public void Drop_Lane_FreesItAndLeavesTheOthers()
    {
        buffer.Fill("lane-1", frames: 200, settled: 10);
        buffer.Fill("lane-2", frames: 2);
        buffer.Fill("quarantine", frames: 1, reason: "refused");
        Ran ran = Run("drop", "--lane", "1", "--yes");
        Assert.Equal((0, ""), (ran.Code, ran.Error));
        Assert.Contains("pump-7 boot 287454020: 190 frames from 11 to 200", ran.Output, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(buffer.PathOf("lane-1"), "*.seg"));
        Assert.Equal(2, Lines("dump"));
        Assert.Equal(0, Run("verify").Code);
        Assert.Equal(0, Run("drop", "--all", "--yes").Code);
        Assert.Equal(0, Lines("dump"));
        Assert.Equal(0, Lines("dump", "--quarantine"));
        // Ids are never given twice, whatever was dropped.
        using RecordJournal again = buffer.Open("lane-1");
        Assert.Equal(201, again.LastId);
    }

    [Fact]
    public void Drop_LanesAndQuarantine_AreInTheLedgerOnce()
    {
        buffer.Fill("lane-1", frames: 200, settled: 10);
        buffer.Fill("quarantine", frames: 3, reason: "refused");
        Assert.Equal(0, Run("drop", "--all", "--yes").Code);
        GapReport report = Assert.Single(Ledger());
        Assert.Equal(
            ("pump-7", 287454020u, 11u, 200u, 190L, DropReason.Operator),
            (report.DeviceId, report.BootId, report.From, report.To, report.Count, report.Reason));
        Assert.Contains("1 reports waiting", Run("status").Output, StringComparison.Ordinal);
        Assert.Equal(0, Run("verify").Code);
    }

    [Fact]
    public void Drop_LedgerCannotBeWritten_DropsNothing()
    {
        buffer.Fill("lane-1", frames: 2);
        File.WriteAllText(buffer.PathOf("ledger"), "in the way");
        Ran ran = Run("drop", "--all", "--yes");
        Assert.Equal((3, ""), (ran.Code, ran.Output));
        Assert.Contains("nothing was dropped", ran.Error, StringComparison.Ordinal);
        Assert.Equal(2, Lines("dump"));
    }

    [Fact]
    public void Help_EveryVerb_HasAnExample()
    {
        foreach (string verb in new[] { "status", "verify", "dump", "export", "drop" })
            Assert.Contains($"Example:\n  iotgw buffer {verb}", Run(verb, "--help").Output, StringComparison.Ordinal);
    }

    private IEnumerable<GapReport> Ledger()
    {
        var found = new LedgerFindings();
        JournalView.Open(buffer.PathOf("ledger"), false, () => found.Take, out JournalView? view);
        view!.Dispose();
        return found.Unconfirmed.Select(e => e.AsReport());
    }

    private int Lines(params string[] arguments)
    {
        Ran ran = Run(arguments);
        Assert.Equal(0, ran.Code);
        return ran.Output.Count(c => c == '\n');
    }

    private Ran Run(params string[] arguments) => RunAt(buffer.Path, arguments);

    private static Ran RunAt(string directory, params string[] arguments)
    {
        var start = new ProcessStartInfo(
            Path.Combine(AppContext.BaseDirectory, "iotgw"), ["buffer", .. arguments, "--directory", directory])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        using Process process = Process.Start(start)!;
        process.StandardInput.Close();
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return new Ran(process.ExitCode, output, error.GetAwaiter().GetResult());
    }

    private sealed record Ran(int Code, string Output, string Error);
}
