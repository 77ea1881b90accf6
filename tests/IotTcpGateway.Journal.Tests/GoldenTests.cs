using Xunit;

namespace IotTcpGateway.Journal.Tests;

/// <summary>
/// Journals of every format version that ever was, as files. JOURNAL_WRITE_GOLDEN names a directory to write a new one.
/// </summary>
public class GoldenTests
{
    [Fact]
    public void Open_JournalOfVersion1_IsReadable()
    {
        string golden = Path.Combine(AppContext.BaseDirectory, "golden", "v1");
        if (Environment.GetEnvironmentVariable("JOURNAL_WRITE_GOLDEN") is string target)
            Write(target);
        var disk = new SimulatedDisk(new Random(1));
        foreach (string file in Directory.GetFiles(golden))
            disk[Path.GetFileName(file)] = File.ReadAllBytes(file);
        var seen = new List<long>();
        using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report, (in JournalRecord r) =>
        {
            if (!r.IsConfirmed)
                seen.Add(r.Id);
        });
        Assert.True(report.IsClean);
        Assert.Equal(CursorState.Whole, report.Cursor);
        Assert.Equal(2, report.Segments);
        Assert.Equal(5, report.ConfirmedThrough);
        Assert.Equal(Enumerable.Range(6, 25).Select(i => (long)i), seen);
        Assert.Equal(Expected(), journal.ReadAll());
    }

    [Fact]
    public void Write_TheSameJournalToday_GivesTheSameBytes()
    {
        using var directory = new TemporaryDirectory();
        Write(directory.Path);
        foreach (string file in Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "golden", "v1")))
            Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(Path.Combine(directory.Path, Path.GetFileName(file))));
    }

    private static void Write(string directory)
    {
        JournalOptions options = Rig.SmallOptions();
        options.SegmentBytes = 1200;
        options.PreallocateBytes = 128;
        ulong nonce = 0x0123456789ABCDEF;
        options.NewNonce = () => nonce++;
        using RecordJournal journal = Rig.Open(new PosixDisk(directory), options);
        foreach ((long id, string payload) in Expected())
        {
            Assert.Equal(id, journal.Append(payload));
            if (id % 3 == 0)
                journal.Commit();
        }

        for (long id = 1; id <= 5; id++)
            journal.Confirm(id);
        journal.CommitCursor();
        File.Delete(Path.Combine(directory, "reserve"));
    }

    private static IEnumerable<(long Id, string Payload)> Expected() =>
        Enumerable.Range(1, 30).Select(i => ((long)i, new string((char)('a' + (i % 26)), i)));
}
