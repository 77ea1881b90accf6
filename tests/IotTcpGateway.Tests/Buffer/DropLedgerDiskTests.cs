using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;
using IotTcpGateway.Journal.Tests;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>The ledger on disk: what comes again after a restart, and a disk that is full, sick or damaged.</summary>
public sealed class DropLedgerDiskTests
{
    private const long Now = 1_763_900_000_000;

    private readonly FakeTimeProvider time = new();

    [Fact]
    public void Restart_OnARealDisk_TellsAgainWhatWasNotConfirmedAndNothingElse()
    {
        using var directory = new TemporaryDirectory();
        using (DropLedger ledger = Open(new PosixDisk(directory.Path)))
        {
            ledger.Add("pump-7", 7, 12, DropReason.BufferFull);
            ledger.Add("pump-7", 7, 90, DropReason.BufferFull);
            ledger.Add("valve-3", 1, 1, DropReason.Refused);
            ledger.Add("local", 9, 4, DropReason.Operator);
            Assert.True(ledger.Flush().IsNone);
            Assert.True(ledger.TryTake(out _));
            Assert.True(ledger.TryTake(out GapReport? valve));
            ledger.Published(valve);
            Assert.True(ledger.Tidy().IsNone);
        }

        for (int start = 0; start < 2; start++)
        {
            using DropLedger again = Open(new PosixDisk(directory.Path));
            Assert.Equal(
                [
                    new GapReport(1, "pump-7", 7, 12, 90, 2, DropReason.BufferFull, Now),
                    new GapReport(3, "local", 9, 4, 4, 1, DropReason.Operator, Now),
                ],
                TakeAll(again));
            Assert.Equal((2, 0, 0), (again.ReportsWaiting, again.Entries, again.EntriesForgotten));
            Assert.Equal([1L, 2L, 3L], again.Latest.Select(r => r.Number));
        }
    }

    [Fact]
    public void Restart_AllConfirmed_TellsNothingAndNumbersGoOn()
    {
        using var directory = new TemporaryDirectory();
        long last = 0;
        for (int start = 0; start < 3; start++)
        {
            using DropLedger ledger = Open(new PosixDisk(directory.Path));
            Assert.Equal(0, ledger.ReportsWaiting);
            ledger.Add("a", 1, 1, DropReason.Refused);
            Assert.True(ledger.Flush().IsNone);
            GapReport report = Assert.Single(TakeAll(ledger));
            Assert.True(report.Number > last);
            last = report.Number;
            ledger.Published(report);
            Assert.True(ledger.Tidy().IsNone);
        }
    }

    [Fact]
    public void Flush_RunThatGoesOn_IsOneEntryOnDiskToo()
    {
        var disk = new SimulatedDisk(new Random(1));
        DropLedger ledger = Open(disk);
        for (uint sequence = 1; sequence <= 500; sequence++)
        {
            ledger.Add("a", 1, sequence, DropReason.BufferFull);
            Assert.True(ledger.Flush().IsNone);
        }

        disk.CutPower();
        ledger = Open(disk);
        Assert.Equal([(1u, 500u, 500L)], TakeAll(ledger).Select(r => (r.From, r.To, r.Count)));
        Assert.Equal(0, ledger.EntriesForgotten);
    }

    [Fact]
    public void Flush_ClosesRunsWithHoles()
    {
        DropLedger ledger = Open(new SimulatedDisk(new Random(1)));
        ledger.Add("a", 1, 1, DropReason.Refused);
        ledger.Add("a", 1, 5, DropReason.Refused);
        ledger.Flush();
        ledger.Add("a", 1, 8, DropReason.Refused);
        ledger.Add("a", 1, 9, DropReason.Refused);
        Assert.Equal([(1u, 5u, 2L), (8u, 9u, 2L)], TakeAll(ledger).Select(r => (r.From, r.To, r.Count)));
    }

    [Fact]
    public void FlushAndTidy_NothingToDo_TouchNothing()
    {
        var disk = new SimulatedDisk(new Random(1));
        DropLedger ledger = Open(disk);
        ledger.Add("a", 1, 1, DropReason.Refused);
        ledger.Flush();
        ledger.Published(TakeAll(ledger)[0]);
        ledger.Tidy();
        int before = disk.Operations;
        Assert.True(ledger.Flush().IsNone);
        Assert.True(ledger.Tidy().IsNone);
        Assert.Equal(before, disk.Operations);
    }

    [Fact]
    public void Published_BeforeItWasFlushed_IsNotWrittenAndDoesNotComeAgain()
    {
        var disk = new SimulatedDisk(new Random(1));
        DropLedger ledger = Open(disk);
        ledger.Add("a", 1, 1, DropReason.Refused);
        ledger.Published(TakeAll(ledger)[0]);
        Assert.True(ledger.Flush().IsNone);
        Assert.True(ledger.Tidy().IsNone);
        disk.CutPower();
        Assert.Empty(TakeAll(Open(disk)));
    }

    [Fact]
    public void Open_LaterThanTheFirstDrops_PutsThemBehindWhatWasOnDisk()
    {
        var disk = new SimulatedDisk(new Random(1));
        DropLedger old = Open(disk);
        old.Add("old", 1, 1, DropReason.Refused);
        old.Flush();
        disk.CutPower();

        disk.Fault = (operation, _) => operation == DiskOperation.List ? DiskError.InputOutput : 0;
        var ledger = new DropLedger(time, () => Now);
        Assert.Equal(DiskOperation.List, ledger.Open(disk).Operation);
        ledger.Add("taken", 1, 1, DropReason.Refused);
        ledger.Add("new", 1, 1, DropReason.Refused);
        Assert.True(ledger.TryTake(out GapReport? taken));
        disk.Fault = null;
        int raised = 0;
        ledger.Added += () => raised++;
        Assert.True(ledger.Open(disk).IsNone);
        Assert.Equal(1, raised);
        Assert.Equal(["old", "new"], TakeAll(ledger).Select(r => r.DeviceId));
        // Under a number that another entry has by now.
        ledger.Published(taken);
        ledger.Rewind();
        Assert.Equal(["old", "new"], TakeAll(ledger).Select(r => r.DeviceId));
        Assert.True(ledger.Flush().IsNone);
        disk.CutPower();
        List<GapReport> again = TakeAll(Open(disk));
        Assert.Equal(["old", "new"], again.Select(r => r.DeviceId));
        Assert.Equal(2, again.Select(r => r.Number).Distinct().Count());
    }

    [Theory]
    [InlineData(DiskError.InputOutput)]
    [InlineData(DiskError.NoSpace)]
    [InlineData(DiskError.ReadOnly)]
    public void Flush_DiskThatTakesNothing_SaysSoAndLosesNothingOnceItIsBack(int errno)
    {
        var disk = new SimulatedDisk(new Random(1));
        DropLedger ledger = Open(disk);
        ledger.Add("a", 1, 1, DropReason.Refused);
        Assert.True(ledger.Flush().IsNone);
        disk.Fault = (operation, _) => operation is DiskOperation.Write or DiskOperation.Sync ? errno : 0;
        for (uint i = 1; i <= 5; i++)
        {
            ledger.Add("b", 1, i * 2, DropReason.Refused);
            Assert.False(ledger.Flush().IsNone);
        }

        disk.Fault = null;
        Assert.True(ledger.Flush().IsNone);
        disk.CutPower();
        List<GapReport> reports = TakeAll(Open(disk));
        Assert.Equal(6, reports.Sum(r => r.Count));
        Assert.Equal([("a", 1u), ("b", 2u)], reports.Take(2).Select(r => (r.DeviceId, r.From)));
        Assert.Equal(10u, reports[^1].To);
    }

    [Fact]
    public void Flush_OnAFullDisk_GoesToTheReserveAndIsDurable()
    {
        var disk = new SimulatedDisk(new Random(1));
        DropLedger ledger = Open(disk);
        disk.CapacityBytes = disk.Names.Sum(n => (long)disk[n].Length);
        ledger.Add("a", 1, 1, DropReason.BufferFull);
        Assert.Equal(DiskError.None, ledger.Flush());
        // Into what is left of it.
        ledger.Add("b", 1, 1, DropReason.BufferFull);
        Assert.Equal(DiskError.None, ledger.Flush());
        disk.CapacityBytes = 0;
        ledger.Add("c", 1, 1, DropReason.BufferFull);
        Assert.True(ledger.Flush().IsNoSpace);
        disk.CapacityBytes = long.MaxValue;
        Assert.Equal(DiskError.None, ledger.Flush());
        ledger.Add("d", 1, 1, DropReason.BufferFull);
        disk.CapacityBytes = 0;
        disk.CutPower();
        Assert.Equal(["a", "b", "c"], TakeAll(Open(disk)).Select(r => r.DeviceId));
    }

    [Fact]
    public void Flush_NoRoomForAReserveButForEntries_IsDurable()
    {
        var disk = new SimulatedDisk(new Random(1)) { CapacityBytes = 20_000 };
        DropLedger ledger = Open(disk);
        Assert.DoesNotContain("reserve", disk.Names);
        string[] devices = [.. Enumerable.Range(1, 40).Select(i => $"device-{i:D2}")];
        foreach (string device in devices)
        {
            ledger.Add(device, 1, 1, DropReason.Expired);
            Assert.Equal(DiskError.None, ledger.Flush());
        }

        disk.CutPower();
        Assert.Equal(devices, TakeAll(Open(disk)).Select(r => r.DeviceId));
    }

    [Fact]
    public void Flush_MoreThanACommitAndNoReserve_AllIsDurable()
    {
        var disk = new SimulatedDisk(new Random(1)) { CapacityBytes = 26_000 };
        DropLedger ledger = Open(disk, Small(memoryBytes: 1_000_000));
        Assert.DoesNotContain("reserve", disk.Names);
        string[] devices = [.. Enumerable.Range(1, 100).Select(i => $"device-{i:D3}")];
        foreach (string device in devices)
            ledger.Add(device, 1, 1, DropReason.Expired);
        Assert.Equal(DiskError.None, ledger.Flush());
        disk.CutPower();
        Assert.Equal(devices, TakeAll(Open(disk, Small(memoryBytes: 1_000_000))).Select(r => r.DeviceId));
    }

    [Fact]
    public void FullOnDisk_OldestEntriesGoAndAreCounted()
    {
        var disk = new SimulatedDisk(new Random(1));
        DropLedger ledger = Open(disk, Small(memoryBytes: 10_000_000));
        const int devices = 2_000;
        for (int i = 0; i < devices; i++)
        {
            ledger.Add($"device-{i:D4}", 1, 1, DropReason.Refused);
            Assert.True(ledger.Flush().IsNone);
        }

        Assert.InRange(ledger.EntriesForgotten, devices / 2, devices - 100);
        Assert.Equal(devices, ledger.EntriesForgotten + ledger.ReportsWaiting);
        disk.CutPower();
        List<GapReport> reports = TakeAll(Open(disk, Small(memoryBytes: 10_000_000)));
        int kept = reports.Count;
        Assert.Equal(devices - ledger.EntriesForgotten, kept);
        Assert.Equal(
            Enumerable.Range(devices - kept, kept).Select(i => $"device-{i:D4}"), reports.Select(r => r.DeviceId));
    }

    [Fact]
    public void LongOutage_FewOldEntriesAmongManyThatChange_KeepTheirPlaceWithinTheCap()
    {
        var disk = new SimulatedDisk(new Random(1));
        DropLedger ledger = Open(disk, Small(memoryBytes: 20_000));
        ledger.Add("old", 1, 1, DropReason.Refused);
        for (uint i = 1; i <= 10_000; i++)
        {
            for (int device = 0; device < 5; device++)
                ledger.Add($"d{device}", 1, (i * 2) + (i % 7 == 0 ? 1u : 0), DropReason.BufferFull);
            Assert.True(ledger.Flush().IsNone);
        }

        Assert.Equal(0, ledger.EntriesForgotten);
        long waiting = ledger.ReportsWaiting;
        Assert.True(ledger.Tidy().IsNone);
        disk.CutPower();
        ledger = Open(disk, Small(memoryBytes: 20_000));
        List<GapReport> reports = TakeAll(ledger);
        Assert.Equal("old", reports[0].DeviceId);
        // Of what was merged some may come again by itself: less than there is of use.
        Assert.InRange(reports.Count, waiting, 2 * waiting);
        Assert.InRange(reports.Sum(r => r.Count), 50_001, 50_001 + waiting);
        Assert.Equal(0, ledger.EntriesForgotten);
    }

    [Fact]
    public void Damage_CostsItsEntriesWhichAreCounted()
    {
        var disk = new SimulatedDisk(new Random(1));
        DropLedger ledger = Open(disk);
        for (int i = 0; i < 20; i++)
            ledger.Add($"d{i}", 1, 1, DropReason.Refused);
        ledger.Flush();
        ledger.Dispose();
        disk.CutPower();
        string segment = disk.Names.Single(n => n.EndsWith(".seg", StringComparison.Ordinal));
        byte[] bytes = disk[segment];
        bytes[300] ^= 0x40;
        disk[segment] = bytes;

        ledger = Open(disk);
        Assert.Equal((19, 1), (TakeAll(ledger).Count, ledger.EntriesForgotten));
        ledger.Add("more", 1, 1, DropReason.Refused);
        Assert.True(ledger.Flush().IsNone);
        ledger.Rewind();
        foreach (GapReport report in TakeAll(ledger))
            ledger.Published(report);
        Assert.True(ledger.Tidy().IsNone);
        disk.CutPower();
        ledger = Open(disk);
        Assert.Equal((0, 0), (ledger.ReportsWaiting, ledger.EntriesForgotten));
    }

    [Fact]
    public void Record_ThatIsNoEntry_IsCountedAndSettled()
    {
        var disk = new SimulatedDisk(new Random(1));
        var limits = new LedgerLimits();
        RecordJournal.Open(disk, limits.Journal, out RecordJournal? journal, out _);
        Span<byte> record = stackalloc byte[LedgerRecord.BytesMax];
        int bytes = LedgerRecord.Write(record, new GapReport(1, "a", 1, 1, 1, 1, DropReason.Refused, Now));
        journal!.TryAppend([9, 9, 9], out _);
        journal.TryAppend(record[..bytes], out _);
        journal.Commit();
        journal.Dispose();
        DropLedger ledger = Open(disk);
        Assert.Equal(1, ledger.EntriesForgotten);
        ledger.Published(Assert.Single(TakeAll(ledger)));
        ledger.Tidy();
        ledger.Dispose();
        Assert.Equal(0, Open(disk).EntriesForgotten);
    }

    [Fact]
    public void LedgerRecord_EveryPrefixAndWrongField_IsNoEntry()
    {
        var entry = new GapReport(
            long.MaxValue, new string('x', 64), 9, 1, uint.MaxValue, long.MaxValue, DropReason.Operator, Now);
        byte[] record = new byte[LedgerRecord.BytesMax];
        int bytes = LedgerRecord.Write(record, entry);
        Assert.Equal(entry, LedgerRecord.Read(record.AsSpan(0, bytes)));
        for (int length = 0; length < bytes; length++)
            Assert.Null(LedgerRecord.Read(record.AsSpan(0, length)));
        GapReport[] wrong =
        [
            entry with { Number = 0 },
            entry with { From = 9, To = 8 },
            entry with { Count = 0 },
            entry with { Reason = (DropReason)77 },
            entry with { DeviceId = "a/b" },
        ];
        Assert.All(wrong, w => Assert.Null(LedgerRecord.Read(record.AsSpan(0, LedgerRecord.Write(record, w)))));
    }

    [Fact]
    public async Task ManyThreads_AddFlushAndPublishAtOnce_TellEveryDropOnce()
    {
        const uint drops = 20_000;
        using var directory = new TemporaryDirectory();
        using DropLedger ledger = Open(new PosixDisk(directory.Path));
        Task[] adding = [.. Enumerable.Range(0, 3).Select(device => Task.Run(() =>
        {
            for (uint sequence = 1; sequence <= drops; sequence++)
                ledger.Add($"d{device}", 1, sequence, DropReason.BufferFull);
        }))];
        Task allAdded = Task.WhenAll(adding);
        Task spilling = Task.Run(() =>
        {
            while (!allAdded.IsCompleted)
            {
                Assert.True(ledger.Flush().IsNone);
                Assert.True(ledger.Tidy().IsNone);
            }
        });
        long told = 0;
        while (!allAdded.IsCompleted || ledger.Untaken > 0)
        {
            if (!ledger.TryTake(out GapReport? report))
                continue;
            if (report.Number % 3 == 0)
            {
                ledger.Rewind();
                Assert.True(ledger.TryTake(out report));
            }

            told += report.Count;
            ledger.Published(report);
        }

        await Task.WhenAll(allAdded, spilling);
        Assert.Equal(3 * drops, told);
        Assert.True(ledger.Flush().IsNone);
        Assert.True(ledger.Tidy().IsNone);
        using DropLedger again = Open(new PosixDisk(directory.Path));
        Assert.Equal(0, again.ReportsWaiting);
    }

    [Fact]
    public void Tidy_OneReportHeldBackByTheBroker_LetsTheOthersNotComeAgain()
    {
        var disk = new SimulatedDisk(new Random(1));
        DropLedger ledger = Open(disk);
        ledger.Add("held", 1, 1, DropReason.Refused);
        for (int i = 0; i < 300; i++)
            ledger.Add($"d{i}", 1, 1, DropReason.Refused);
        ledger.Flush();
        foreach (GapReport report in TakeAll(ledger).Skip(1))
        {
            ledger.Published(report);
        }

        Assert.True(ledger.Tidy().IsNone);
        disk.CutPower();
        Assert.Equal(["held"], TakeAll(Open(disk)).Select(r => r.DeviceId));
    }

    private static LedgerLimits Small(int memoryBytes) => new()
    {
        MemoryBytes = memoryBytes,
        Journal = new JournalOptions
        {
            BytesMax = 32 * 1024,
            SegmentBytes = 4096,
            PreallocateBytes = 0,
            CommitBytesMax = 2048,
            PayloadBytesMax = LedgerRecord.BytesMax,
        },
    };

    private DropLedger Open(IJournalDisk disk, LedgerLimits? limits = null)
    {
        var ledger = new DropLedger(time, () => Now, limits);
        Assert.Equal(DiskError.None, ledger.Open(disk));
        return ledger;
    }

    private static List<GapReport> TakeAll(DropLedger ledger)
    {
        var reports = new List<GapReport>();
        while (ledger.TryTake(out GapReport? report))
            reports.Add(report);
        return reports;
    }
}
