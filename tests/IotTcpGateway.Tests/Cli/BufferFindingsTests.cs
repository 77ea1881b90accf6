using IotTcpGateway.Buffer;
using IotTcpGateway.Cli;
using IotTcpGateway.Journal;
using IotTcpGateway.Tests.Buffer;

using Xunit;

namespace IotTcpGateway.Tests.Cli;

public sealed class BufferFindingsTests : IDisposable
{
    private const int Frames = 12;

    private readonly StoredBuffer buffer = new();

    public BufferFindingsTests() => buffer.Fill("lane-1", Frames, settled: 0);

    public void Dispose() => buffer.Dispose();

    [Fact]
    public void Of_WholeJournal_IsNothing()
    {
        (JournalFigures figures, IReadOnlyList<string> findings) = Look();
        Assert.Empty(findings);
        Assert.Equal((Frames, Frames + 1), (figures.Frames, figures.Entries));
    }

    [Fact]
    public void Of_EveryTruncation_IsToldWhenAnythingIsMissing()
    {
        int told = 0;
        foreach (string file in Directory.GetFiles(buffer.PathOf("lane-1")).Where(f => !f.EndsWith("reserve", StringComparison.Ordinal)))
        {
            byte[] whole = File.ReadAllBytes(file);
            for (int length = 0; length < whole.Length; length++)
            {
                File.WriteAllBytes(file, whole[..length]);
                told += AssertToldIfMissing($"{file} cut to {length}");
            }

            File.WriteAllBytes(file, whole);
        }

        Assert.InRange(told, 1000, int.MaxValue);
    }

    [Fact]
    public void Of_EveryByteAltered_IsToldWhenAnythingIsMissing()
    {
        int told = 0;
        foreach (string file in Directory.GetFiles(buffer.PathOf("lane-1"), "*.seg").Append(buffer.PathOf("lane-1/cursor")))
        {
            byte[] bytes = File.ReadAllBytes(file);
            for (int at = 0; at < bytes.Length; at += at < 2048 ? 1 : 61)
            {
                byte bit = (byte)(1 << (at % 8));
                bytes[at] ^= bit;
                File.WriteAllBytes(file, bytes);
                told += AssertToldIfMissing($"{file} altered at {at}");
                bytes[at] ^= bit;
            }

            File.WriteAllBytes(file, bytes);
        }

        Assert.InRange(told, 500, int.MaxValue);
    }

    [Fact]
    public void Of_LiveJournal_TheEntryBeingWrittenIsNoDamage()
    {
        using (FileStream file = File.Open(Directory.GetFiles(buffer.PathOf("lane-1"), "*.seg").Order().Last(), FileMode.Append))
            file.Write("half a record"u8);
        Assert.Single(Look(isLive: false).Findings);
        Assert.Empty(Look(isLive: true).Findings);
    }

    [Fact]
    public void Of_UnknownEntryAndLostTable_SaysWhatItCosts()
    {
        using (RecordJournal journal = buffer.Open("lane-1"))
        {
            buffer.Frame(journal, "pump-7", 13, table: 77);
            journal.TryAppend([0x0F, 1, 2], out _);
            journal.Commit();
        }

        IReadOnlyList<string> findings = Look().Findings;
        Assert.Equal(2, findings.Count);
        Assert.Contains("1 entry of a kind", findings[0], StringComparison.Ordinal);
        Assert.Contains("channel table of 1 frames", findings[1], StringComparison.Ordinal);
    }

    // 1 if there was a finding.
    private int AssertToldIfMissing(string what)
    {
        (JournalFigures figures, IReadOnlyList<string> findings) = Look();
        bool isMissing = figures.Frames != Frames || figures.Entries != Frames + 1 || figures.FramesWithoutNames > 0;
        Assert.True(!isMissing || findings.Count > 0, what + " is not told");
        return findings.Count > 0 ? 1 : 0;
    }

    private (JournalFigures Figures, IReadOnlyList<string> Findings) Look(bool isLive = false)
    {
        var figures = new JournalFigures();
        JournalView.Open(
            buffer.PathOf("lane-1"), isLive, () => (figures = new JournalFigures()).Visit, out JournalView? view);
        using (view)
            return (figures, BufferFindings.Of(view!.Report, figures.Unknown, figures.FramesWithoutNames, isLive));
    }
}
