using Xunit;

namespace IotTcpGateway.Journal.Tests;

/// <summary>Every operation fails, or is the last, one after the other.</summary>
public class FaultTests
{
    private static readonly int[] Errnos = [DiskError.InputOutput, DiskError.NoSpace, DiskError.ReadOnly];

    [Fact]
    public void Session_NthOperationFailsOnce_LosesNothingAndComesBack()
    {
        int operations = CountOperations();
        foreach (int errno in Errnos)
        {
            for (int n = 1; n < operations; n++)
                RunWith(n, (_, number) => number == n ? errno : 0, mustRecover: true);
        }
    }

    [Fact]
    public void Session_NthOperationAndAllAfterFail_LosesNothing()
    {
        int operations = CountOperations();
        foreach (int errno in Errnos)
        {
            for (int n = 1; n < operations; n++)
                RunWith(n, (_, number) => number >= n ? errno : 0, mustRecover: false);
        }
    }

    [Fact]
    public void Session_PowerCutInNthOperationThenInEveryOperationOfTheStart_LosesNothing()
    {
        int operations = CountOperations();
        for (int n = 1; n < operations; n++)
        {
            for (int second = 1; second < 30; second += 2)
            {
                var disk = new SimulatedDisk(new Random((n * 1000) + second)) { CutAt = n };
                var safe = new Session();
                Assert.Throws<PowerCutException>(() => safe.Run(disk));
                disk.CutPower();
                disk.CutAt = disk.Operations + second;
                try
                {
                    Rig.Open(disk).Dispose();
                }
                catch (PowerCutException)
                {
                }

                disk.CutPower();
                safe.Check(disk, $"operation {n}, then {second}");
            }
        }
    }

    [Fact]
    public void Commit_SyncFailsOnce_WritesTheSameRecordsToANewSegment()
    {
        var disk = new SimulatedDisk(new Random(1));
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(3);
        journal.Append("again");
        FailOnce(disk, DiskOperation.Sync);
        Assert.Equal(new CommitResult(JournalState.Healthy, 4, DiskError.None), journal.Commit());
        Assert.Equal(2, journal.Counters.SegmentsBegun);
        Assert.Equal(1, journal.Counters.SegmentsSetAside);
        Assert.Equal(1, journal.Counters.FailedSyncs);
        disk.CutPower();
        using RecordJournal again = Rig.Open(disk);
        Assert.Equal([1, 2, 3, 4], again.ReadAll().Select(r => r.Id));
    }

    [Fact]
    public void Commit_SyncsFail_AcknowledgesNothingUntilTheDiskIsBack()
    {
        var disk = new SimulatedDisk(new Random(1));
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(3);
        journal.Append("kept");
        disk.Fault = (operation, _) => operation == DiskOperation.Sync ? DiskError.InputOutput : 0;
        CommitResult failed = journal.Commit();
        Assert.Equal(new CommitResult(JournalState.Failed, 3, new DiskError(DiskOperation.Sync, DiskError.InputOutput)), failed);
        Assert.Equal(AppendResult.Failed, journal.TryAppend("x"u8, out _));
        Assert.Equal(3, journal.ReadAll().Count);
        disk.Fault = null;
        Assert.Equal(new CommitResult(JournalState.Healthy, 4, DiskError.None), journal.Commit());
        Assert.Equal((4, "kept"), journal.ReadAll()[^1]);
        Assert.Equal(AppendResult.Appended, journal.TryAppend("x"u8, out _));
    }

    [Fact]
    public void Commit_DiskFull_SyncsWhatWasTakenFromTheReserveAndTakesNoMore()
    {
        var disk = new SimulatedDisk(new Random(1));
        JournalOptions options = Rig.SmallOptions();
        options.CommitBytesMax = 3000;
        using RecordJournal journal = Rig.Open(disk, options);
        journal.AppendAll(3);
        journal.TryAppend(new byte[1000], out _);
        journal.TryAppend(new byte[1000], out long last);
        disk.CapacityBytes = disk.Names.Sum(n => (long)disk[n].Length) + 100;
        Assert.Equal(JournalState.Full, journal.Commit().State);
        Assert.Equal(last, journal.SyncedThrough);
        Assert.DoesNotContain("reserve", disk.Names);
        Assert.Equal(AppendResult.Full, journal.TryAppend("x"u8, out _));

        // The cursor and so the freeing of room still work, and with room the journal is well again.
        for (long id = 1; id <= last; id++)
            journal.Confirm(id);
        Assert.Equal(DiskError.None, journal.CommitCursor());
        disk.CapacityBytes = long.MaxValue;
        Assert.Equal(JournalState.Healthy, journal.Commit().State);
        Assert.Contains("reserve", disk.Names);
        Assert.Equal(AppendResult.Appended, journal.TryAppend("x"u8, out _));
    }

    [Fact]
    public void Open_ReadOnlyDisk_ReadsEverythingAndChangesNothing()
    {
        var disk = new SimulatedDisk(new Random(1));
        using (RecordJournal journal = Rig.Open(disk))
            journal.AppendAll(10);
        disk.IsReadOnly = true;
        using RecordJournal again = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        Assert.Equal(10, again.ReadAll().Count);
        Assert.Equal(JournalState.Failed, again.State);
        Assert.Equal(DiskError.ReadOnly, report.WriteError.Errno);
        Assert.Equal(AppendResult.Failed, again.TryAppend("x"u8, out _));
        disk.IsReadOnly = false;
        Assert.Equal(JournalState.Healthy, again.Commit().State);
        Assert.Equal(11, again.Append("x"));
    }

    [Fact]
    public void Open_NewestCannotBeSyncedOrReadAnew_WritesItsLastCommitAgain()
    {
        for (int seed = 1; seed <= 20; seed++)
        {
            var disk = new SimulatedDisk(new Random(seed));
            RecordJournal killed = Rig.Open(disk);
            killed.AppendAll(3);
            killed.Append("in the page cache");
            disk.Fault = (operation, _) => operation == DiskOperation.Sync ? throw new PowerCutException() : 0;
            Assert.Throws<PowerCutException>(() => killed.Commit());
            disk.Kill();

            int failures = 0;
            disk.Fault = (operation, _) => operation is DiskOperation.Sync or DiskOperation.DropCache && failures++ < 2
                ? DiskError.InputOutput
                : 0;
            using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
            Assert.True(report.IsFromDisk);
            Assert.Equal(4, journal.SyncedThrough);
            disk.CutPower();
            using RecordJournal last = Rig.Open(disk);
            Assert.Equal([1, 2, 3, 4], last.ReadAll().Select(r => r.Id));
        }
    }

    // Two faults at once: whether the hole is rot or a write that was torn, nobody can tell.
    [Theory]
    [InlineData(0, new long[] { 3 }, new long[] { 1, 2, 4, 5, 6 })]
    [InlineData(1, new long[] { 4, 5, 6 }, new long[] { 1, 2, 3 })]
    [InlineData(2, new long[] { 5, 6 }, new long[] { 1, 2, 3, 4 })]
    public void Open_NewestCannotBeSyncedAndItsLastCommitHasRotted_TellsWhatIsNotWrittenAgain(
        int rotten, long[] missing, long[] kept)
    {
        var disk = new SimulatedDisk(new Random(1));
        using (RecordJournal written = Rig.Open(disk))
        {
            written.AppendAll(2);
            for (int i = 0; i < 4; i++)
                written.Append($"last {i}");
            written.Commit();
        }

        string segment = disk.Names.Single(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        byte[] bytes = disk[segment];
        bytes[bytes.AsSpan().IndexOf(System.Text.Encoding.UTF8.GetBytes($"last {rotten}"))] ^= 1;
        disk[segment] = bytes;
        FailOnce(disk, DiskOperation.DropCache);
        using (RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report))
        {
            Assert.Equal(missing, report.Damage.SelectMany(d => Enumerable.Range((int)d.Ids.First, (int)d.Ids.Count))
                .Select(id => (long)id));
            Assert.All(report.Damage, d => Assert.False(d.IsProven));
            Assert.Equal(rotten > 0, report.IsLastCommitWrittenAgain);
            journal.AppendAll(1);
        }

        disk.CutPower();
        using RecordJournal last = Rig.Open(disk);
        Assert.Equal([.. kept, 7], last.ReadAll().Select(r => r.Id));
    }

    [Fact]
    public void CommitCursor_SyncFails_NextOneIsANewFile()
    {
        var disk = new SimulatedDisk(new Random(1));
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(5);
        journal.Confirm(1);
        FailOnce(disk, DiskOperation.Sync);
        Assert.Equal(DiskError.InputOutput, journal.CommitCursor().Errno);
        disk.Log.Clear();
        Assert.Equal(DiskError.None, journal.CommitCursor());
        Assert.Contains("Rename cursor.tmp cursor", disk.Log);
        disk.CutPower();
        using RecordJournal again = Rig.Open(disk);
        Assert.Equal(1, again.ConfirmedThrough);
    }

    [Fact]
    public void Trim_CursorCannotBeSynced_RemovesNothing()
    {
        var disk = new SimulatedDisk(new Random(1));
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(200);
        journal.GiveUpThrough(200);
        string[] before = [.. disk.Names];
        disk.Fault = (operation, _) => operation == DiskOperation.Sync ? DiskError.InputOutput : 0;
        Assert.Equal(DiskOperation.Sync, journal.Trim().Operation);
        Assert.Equal(before, disk.Names.Where(n => n != "cursor.tmp"));
    }

    [Fact]
    public void Open_DirectoryCannotBeListed_IsAnError()
    {
        var disk = new SimulatedDisk(new Random(1)) { Fault = (_, _) => DiskError.InputOutput };
        DiskError error = RecordJournal.Open(disk, Rig.SmallOptions(), out RecordJournal? journal, out _);
        Assert.Equal(new DiskError(DiskOperation.List, DiskError.InputOutput), error);
        Assert.Null(journal);
    }

    [Fact]
    public void TryRead_PageUnreadable_CostsItsRecordsAlone()
    {
        var disk = new SimulatedDisk(new Random(1));
        JournalOptions options = Rig.SmallOptions();
        options.SegmentBytes = 32 * 1024;
        options.PreallocateBytes = 0;
        using RecordJournal journal = Rig.Open(disk, options);
        journal.AppendAll(400);
        string segment = disk.Names.Single(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        disk.Unreadable = (segment, 4096, 8192);
        var gaps = new List<IdRange>();
        int found = journal.ReadAll(1, gaps).Count;
        IdRange gap = Assert.Single(gaps);
        Assert.Equal(400, found + gap.Count);
        Assert.InRange(gap.Count, 4096 / 40, (4096 / 32) + 2);

        journal.Dispose();
        using RecordJournal again = Rig.Open(disk, options, out RecoveryReport report);
        Assert.Equal(gap.Count, report.MissingRecords);
        Assert.Equal(DiskError.InputOutput, report.ReadError.Errno);
    }

    private static void FailOnce(SimulatedDisk disk, DiskOperation which)
    {
        bool hasFailed = false;
        disk.Fault = (operation, _) =>
        {
            if (hasFailed || operation != which)
                return 0;
            hasFailed = true;
            return DiskError.InputOutput;
        };
    }

    private static int CountOperations()
    {
        var disk = new SimulatedDisk(new Random(1));
        new Session().Run(disk);
        return disk.Operations;
    }

    private static void RunWith(int n, Func<DiskOperation, int, int> fault, bool mustRecover)
    {
        var disk = new SimulatedDisk(new Random(n)) { Fault = fault };
        var safe = new Session();
        safe.Run(disk);
        if (mustRecover)
            Assert.True(safe.IsHealthyAtTheEnd, $"operation {n}: not well again");
        disk.Fault = null;
        disk.CutPower();
        safe.Check(disk, $"operation {n}");
    }

    /// <summary>A short life with everything in it, and what it was promised.</summary>
    private sealed class Session
    {
        private readonly Dictionary<long, string> safe = [];
        private readonly Dictionary<long, string> appended = [];
        private readonly HashSet<long> settled = [];

        public bool IsHealthyAtTheEnd { get; private set; }

        public void Run(SimulatedDisk disk)
        {
            DiskError error = RecordJournal.Open(disk, Rig.SmallOptions(), out RecordJournal? journal, out _);
            if (!error.IsNone)
            {
                IsHealthyAtTheEnd = true; // nothing was promised, and the caller was told
                return;
            }

            using (journal)
            {
                for (int i = 0; i < 30; i++)
                {
                    AppendThree(journal!, i);
                    journal!.Commit();
                    foreach (long id in appended.Keys.Where(id => id <= journal.SyncedThrough))
                        safe[id] = appended[id];
                    if (i % 10 == 9)
                        Settle(journal, i);
                }

                journal!.Commit();
                IsHealthyAtTheEnd = journal.State == JournalState.Healthy;
            }
        }

        public void Check(SimulatedDisk disk, string about)
        {
            using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
            List<(long Id, string Payload)> found = journal.ReadAll(report.ConfirmedThrough + 1);
            Assert.Equal(found.Select(f => f.Id).Distinct().Order(), found.Select(f => f.Id));
            Assert.All(found, f => Assert.Equal(appended[f.Id], f.Payload));
            IEnumerable<long> lost = safe.Keys.Where(id => !settled.Contains(id)).Except(found.Select(f => f.Id));
            Assert.True(!lost.Any(), $"{about}: {string.Join(", ", lost)} lost");
            Assert.All(safe.Keys.Where(id => id <= report.ConfirmedThrough), id => Assert.Contains(id, settled));
        }

        private void AppendThree(RecordJournal journal, int i)
        {
            for (int k = 0; k < 3; k++)
            {
                string payload = $"{i}.{k} {new string('x', 120)}";
                if (journal.TryAppend(System.Text.Encoding.UTF8.GetBytes(payload), out long id) == AppendResult.Appended)
                    appended[id] = payload;
            }
        }

        private void Settle(RecordJournal journal, int i)
        {
            for (long id = 1; id <= Math.Min(i * 2, journal.SyncedThrough); id++)
            {
                settled.Add(id);
                journal.Confirm(id);
            }

            _ = journal.CommitCursor();
            _ = journal.Trim();
        }
    }
}
