using System.Diagnostics;

using Xunit;

namespace IotTcpGateway.Journal.Tests;

/// <summary>
/// Prints figures for the README, run by "-explicit only" with JOURNAL_FIGURES naming a directory on the disk to be
/// measured. Asserts nothing about time.
/// </summary>
public class FiguresTests
{
    private const int PayloadBytes = 200;
    private const int RecordsPerCommit = 64;

    [Fact(Explicit = true)]
    public void Journal_OnThisDisk_Figures()
    {
        string? where = Environment.GetEnvironmentVariable("JOURNAL_FIGURES");
        Assert.NotNull(where);
        string directory = Directory.CreateDirectory(Path.Combine(where, "journal-figures")).FullName;
        try
        {
            Rate(directory, new JournalOptions());
            Rate(directory, new JournalOptions { PreallocateBytes = 0 });
            Recovery(directory);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static void Rate(string directory, JournalOptions options)
    {
        Empty(directory);
        using RecordJournal journal = Rig.Open(new PosixDisk(directory), options);
        Print($"zeros ahead in steps of {options.PreallocateBytes} B");
        long deviceBefore = DeviceBytes();
        long disksBefore = DiskBytes();
        var watch = Stopwatch.StartNew();
        const int commits = 2000;
        Append(journal, commits, RecordsPerCommit);
        watch.Stop();
        long records = commits * (long)RecordsPerCommit;
        JournalCounters c = journal.Counters;
        Print($"append: {records / watch.Elapsed.TotalSeconds:N0} records/s, {commits / watch.Elapsed.TotalSeconds:N0} commits/s of {RecordsPerCommit} x {PayloadBytes} B");
        Print($"written per record: {(double)c.RecordBytesWritten / records:N1} B of records, {(double)c.OtherBytesWritten / records:N2} B of headers and cursor, {(double)c.PreallocatedBytes / records:N1} B of zeros ahead; pages dirtied (/proc/self/io) {(double)(DeviceBytes() - deviceBefore) / records:N0} B, all disks of the machine (/proc/diskstats) {(double)(DiskBytes() - disksBefore) / records:N0} B");
        watch.Restart();
        using JournalReader reader = journal.CreateReader(1);
        long read = 0;
        while (reader.TryRead(out JournalRecord _) == ReadResult.Record)
            read++;
        Print($"read: {read / watch.Elapsed.TotalSeconds:N0} records/s");
    }

    private static void Recovery(string directory)
    {
        Empty(directory);
        var options = new JournalOptions { BytesMax = 300L * 1024 * 1024 };
        using (RecordJournal journal = Rig.Open(new PosixDisk(directory), options))
        {
            while (journal.DiskBytes < 256L * 1024 * 1024)
                Append(journal, 1, 2000);
        }

        long managedBefore = GC.GetTotalAllocatedBytes();
        var watch = Stopwatch.StartNew();
        using RecordJournal again = Rig.Open(new PosixDisk(directory), options, out RecoveryReport report);
        Print($"recovery of 256 MiB: {watch.Elapsed.TotalSeconds:N2} s, {report.Records:N0} records, {(GC.GetTotalAllocatedBytes() - managedBefore) / 1024:N0} KiB allocated in all, peak resident {PeakKilobytes():N0} KiB");
    }

    private static void Empty(string directory)
    {
        foreach (string file in Directory.GetFiles(directory))
            File.Delete(file);
    }

    private static void Append(RecordJournal journal, int commits, int recordsPerCommit)
    {
        byte[] payload = new byte[PayloadBytes];
        new Random(1).NextBytes(payload);
        for (int i = 0; i < commits; i++)
        {
            for (int k = 0; k < recordsPerCommit; k++)
                Assert.Equal(AppendResult.Appended, journal.TryAppend(payload, out _));
            Assert.Equal(JournalState.Healthy, journal.Commit().State);
        }
    }

    private static void Print(string line) => TestContext.Current.TestOutputHelper!.WriteLine(line);

    private static long DeviceBytes() => long.Parse(
        File.ReadLines("/proc/self/io").First(l => l.StartsWith("write_bytes", StringComparison.Ordinal)).Split(' ')[1],
        System.Globalization.CultureInfo.InvariantCulture);

    // Sectors written, of whole disks: partitions and what is stacked on disks would count twice.
    private static long DiskBytes() => File.ReadLines("/proc/diskstats")
        .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        .Where(f => Directory.Exists($"/sys/block/{f[2]}/device"))
        .Sum(f => long.Parse(f[9], System.Globalization.CultureInfo.InvariantCulture) * 512);

    private static long PeakKilobytes() => long.Parse(
        File.ReadLines("/proc/self/status").First(l => l.StartsWith("VmHWM", StringComparison.Ordinal)).Split(' ', StringSplitOptions.RemoveEmptyEntries)[1],
        System.Globalization.CultureInfo.InvariantCulture);
}
