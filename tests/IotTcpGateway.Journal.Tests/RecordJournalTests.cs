using Xunit;

namespace IotTcpGateway.Journal.Tests;

/// <summary>What the journal does while the disk is well.</summary>
public class RecordJournalTests
{
    private readonly SimulatedDisk disk = new(new Random(1));

    [Fact]
    public void TryAppend_Committed_IsReadAfterReopening()
    {
        using (RecordJournal journal = Rig.Open(disk))
        {
            Assert.Equal(1, journal.Append("a"));
            Assert.Equal(2, journal.Append(""));
            Assert.Equal(new CommitResult(JournalState.Healthy, 2, DiskError.None), journal.Commit());
        }

        disk.CutPower();
        using RecordJournal again = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        Assert.Equal([(1, "a"), (2, "")], again.ReadAll());
        Assert.True(report.IsClean);
        Assert.Equal(3, again.Append("b"));
    }

    [Fact]
    public void TryRead_BeforeCommit_SeesNothing()
    {
        using RecordJournal journal = Rig.Open(disk);
        journal.Append("a");
        using JournalReader reader = journal.CreateReader(1);
        Assert.Equal(ReadResult.End, reader.TryRead(out _));
        journal.Commit();
        Assert.Equal(ReadResult.Record, reader.TryRead(out JournalRecord record));
        Assert.Equal(1, record.Id);
        Assert.Equal(ReadResult.End, reader.TryRead(out _));
    }

    [Fact]
    public void Commit_ManySegments_KeepsOrderAcrossThem()
    {
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(200);
        Assert.Equal(Enumerable.Range(1, 200).Select(i => ((long)i, $"record {i}")), journal.ReadAll());
        Assert.True(journal.Counters.SegmentsBegun > 1);
        Assert.Equal(Enumerable.Range(150, 51).Select(i => (long)i), journal.ReadAll(150).Select(r => r.Id));
    }

    [Fact]
    public void Commit_OneLargeCommit_SpreadsOverSegments()
    {
        JournalOptions options = Rig.SmallOptions();
        options.CommitBytesMax = 20_000;
        using RecordJournal journal = Rig.Open(disk, options);
        for (int i = 1; i <= 300; i++)
            journal.Append($"record {i}");
        Assert.Equal(300, journal.Commit().SyncedThrough);
        Assert.Equal(300, journal.ReadAll().Count);
    }

    [Fact]
    public void TryAppend_CommitFull_AsksForCommit()
    {
        using RecordJournal journal = Rig.Open(disk);
        byte[] payload = new byte[1000];
        Assert.Equal(AppendResult.Appended, journal.TryAppend(payload, out _));
        Assert.Equal(AppendResult.CommitFirst, AppendUntilNot(journal, payload));
        journal.Commit();
        Assert.Equal(AppendResult.Appended, journal.TryAppend(payload, out _));
    }

    [Fact]
    public void TryAppend_LargerThanTheLimit_IsRefused()
    {
        using RecordJournal journal = Rig.Open(disk);
        Assert.Equal(AppendResult.TooLarge, journal.TryAppend(new byte[1025], out long id));
        Assert.Equal(0, id);
    }

    [Fact]
    public void TryAppend_CapReached_IsFullAndTheCapHolds()
    {
        using RecordJournal journal = Rig.Open(disk);
        Fill(journal);
        Assert.InRange(SegmentBytesOnDisk(), 50_000, 64 * 1024);
        Assert.Equal(SegmentBytesOnDisk(), journal.DiskBytes);
    }

    [Fact]
    public void Trim_AllOfASegmentConfirmed_RemovesItAfterTheCursorIsSynced()
    {
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(200);
        string oldest = disk.Names.First(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        for (long id = 150; id >= 1; id--)
            journal.Confirm(id);
        disk.Log.Clear();
        Assert.Equal(DiskError.None, journal.Trim());
        Assert.DoesNotContain(oldest, disk.Names);
        int cursorSynced = disk.Log.IndexOf("Sync cursor.tmp");
        int removed = disk.Log.IndexOf($"Unlink {oldest}");
        Assert.True(0 <= cursorSynced && cursorSynced < removed);
        Assert.Equal("SyncDirectory ", disk.Log[^1]);
        Assert.Equal(200, journal.ReadAll(151)[^1].Id);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(4096)]
    public void Trim_OneCursorSlotDamagedAfterwards_GivesNoIdAgain(int slot)
    {
        using (RecordJournal journal = Rig.Open(disk))
        {
            journal.AppendAll(200);
            journal.Confirm(1);
            journal.CommitCursor();
            journal.GiveUpThrough(200);
            journal.DropOldest(out _);
        }

        Rig.Open(disk).Dispose(); // removes the last one
        Assert.DoesNotContain(disk.Names, n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        byte[] cursor = disk["cursor"];
        cursor[slot + 24] ^= 1;
        disk["cursor"] = cursor;
        using RecordJournal again = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        Assert.Equal(CursorState.OneSlotDamaged, report.Cursor);
        Assert.Equal(201, report.NextId);
        Assert.Equal(200, report.ConfirmedThrough);
    }

    [Fact]
    public void Trim_LaterInTheSameRun_WritesBothSlots()
    {
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(200);
        journal.CommitCursor();
        journal.GiveUpThrough(200);
        journal.Trim();
        byte[] cursor = disk["cursor"];
        Assert.Equal(200, BitConverter.ToInt64(cursor, 24));
        Assert.Equal(200, BitConverter.ToInt64(cursor, 4096 + 24));
    }

    [Fact]
    public void Commit_NewSegment_IsSyncedAndNamedDurablyBeforeItIsAcknowledged()
    {
        using RecordJournal journal = Rig.Open(disk);
        disk.Log.Clear();
        journal.AppendAll(1);
        string segment = disk.Names.Single(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        Assert.Equal(
            [
                $"Open {segment}.tmp", $"Write {segment}.tmp", $"Write {segment}.tmp", $"Write {segment}.tmp",
                $"Sync {segment}.tmp", $"Rename {segment}.tmp {segment}", "SyncDirectory ",
            ],
            disk.Log);
    }

    [Fact]
    public void CommitCursor_Reopened_StartsThere()
    {
        using (RecordJournal journal = Rig.Open(disk))
        {
            journal.AppendAll(10);
            foreach (long id in (long[])[1, 2, 3, 5, 4, 7])
                journal.Confirm(id);
            Assert.Equal(5, journal.ConfirmedThrough);
            Assert.Equal(DiskError.None, journal.CommitCursor());
            journal.Confirm(6);
            Assert.Equal(7, journal.ConfirmedThrough);
        }

        disk.CutPower();
        var seen = new List<(long, bool)>();
        using RecordJournal again = Rig.Open(
            disk, Rig.SmallOptions(), out RecoveryReport report, (in JournalRecord r) => seen.Add((r.Id, r.IsConfirmed)));
        Assert.Equal(5, again.ConfirmedThrough);
        Assert.Equal(Enumerable.Range(1, 10).Select(id => ((long)id, id <= 5)), seen);
        Assert.True(again.IsConfirmed(5));
        Assert.False(again.IsConfirmed(7));
        Assert.Equal(new IdRange(1, 10), again.OldestSegment);
        Assert.Equal(10, report.Records);
        Assert.Equal(5, report.UnconfirmedRecords);
    }

    [Fact]
    public void CommitCursor_NothingChanged_WritesNothing()
    {
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(2);
        journal.Confirm(1);
        journal.CommitCursor();
        int before = disk.Operations;
        journal.CommitCursor();
        Assert.Equal(before, disk.Operations);
    }

    [Fact]
    public void DropOldest_Full_MakesRoomAndSaysWhatIsGone()
    {
        using RecordJournal journal = Rig.Open(disk);
        Fill(journal);
        journal.Confirm(2);
        Assert.Equal(DiskError.None, journal.DropOldest(out GivenUp givenUp));
        Assert.Equal(1, givenUp.Range.First);
        Assert.Equal(givenUp.Range.Count - 1, givenUp.Count);
        Assert.Equal(AppendResult.Appended, journal.TryAppend(new byte[100], out _));
        Assert.Equal(givenUp.Range.Last + 1, journal.ReadAll()[0].Id);
        Assert.Equal(givenUp.Range.Last, journal.ConfirmedThrough);
    }

    [Fact]
    public void DropOldest_OnlyTheSegmentBeingWritten_DropsIt()
    {
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(3);
        journal.DropOldest(out GivenUp givenUp);
        Assert.Equal(new GivenUp(new IdRange(1, 3), 3), givenUp);
        Assert.Empty(journal.ReadAll());
        Assert.Equal(0, journal.DiskBytes);
        journal.AppendAll(1);
        Assert.Equal([(4, "record 1")], journal.ReadAll());
    }

    [Fact]
    public void GiveUpThrough_InTheMiddle_IsNotReadAndNotAGap()
    {
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(10);
        using JournalReader reader = journal.CreateReader(1);
        Assert.Equal(ReadResult.Record, reader.TryRead(out _));
        Assert.Equal(new GivenUp(new IdRange(1, 6), 6), journal.GiveUpThrough(6));
        Assert.Equal(ReadResult.Record, reader.TryRead(out JournalRecord record));
        Assert.Equal(7, record.Id);
        Assert.Equal(0, journal.GiveUpThrough(6).Count);
    }

    [Fact]
    public void TryRead_SegmentTrimmedUnderTheReader_GoesOnBehindIt()
    {
        using RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(300);
        using JournalReader reader = journal.CreateReader(1);
        reader.TryRead(out _);
        journal.GiveUpThrough(290);
        journal.Trim();
        Assert.Equal(ReadResult.Record, reader.TryRead(out JournalRecord record));
        Assert.Equal(291, record.Id);
    }

    [Fact]
    public void TryAppend_SteadyState_AllocatesNothing()
    {
        JournalOptions options = Rig.SmallOptions();
        options.SegmentBytes = 4 * 1024 * 1024;
        options.BytesMax = 64 * 1024 * 1024;
        options.CommitBytesMax = 128 * 1024;
        using var directory = new TemporaryDirectory();
        using RecordJournal journal = Rig.Open(new PosixDisk(directory.Path), options);
        using JournalReader reader = journal.CreateReader(1);
        byte[] payload = new byte[200];
        Round(journal, reader, payload);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 20; i++)
            Round(journal, reader, payload);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        Assert.Equal(1, journal.Counters.SegmentsBegun);

        static void Round(RecordJournal journal, JournalReader reader, byte[] payload)
        {
            for (int i = 0; i < 64; i++)
                journal.TryAppend(payload, out _);
            journal.Commit();
            while (reader.TryRead(out JournalRecord record) == ReadResult.Record)
                journal.Confirm(record.Id);
            journal.CommitCursor();
        }
    }

    [Fact]
    public async Task TryRead_BesideAWriter_SeesEveryRecordOnce()
    {
        const int records = 20_000;
        JournalOptions options = Rig.SmallOptions();
        options.SegmentBytes = 64 * 1024;
        options.BytesMax = 64 * 1024 * 1024;
        using var directory = new TemporaryDirectory();
        using RecordJournal journal = Rig.Open(new PosixDisk(directory.Path), options);
        Task<long> reading = Task.Run(() => ReadThrough(journal, records));
        byte[] payload = new byte[16];
        for (int i = 0; i < records; i++)
        {
            BitConverter.TryWriteBytes(payload, i + 1L);
            while (journal.TryAppend(payload, out _) == AppendResult.CommitFirst)
                journal.Commit();
            if (i % 50 == 0)
                journal.Trim();
        }

        journal.Commit();
        Assert.Equal(records, await reading.WaitAsync(TimeSpan.FromMinutes(2)));
        Assert.Equal(records, journal.ConfirmedThrough);

        static long ReadThrough(RecordJournal journal, long last)
        {
            using JournalReader reader = journal.CreateReader(1);
            long expected = 1;
            while (expected <= last)
            {
                ReadResult result = reader.TryRead(out JournalRecord record);
                if (result == ReadResult.End)
                {
                    Thread.Yield();
                    continue;
                }

                Assert.Equal(ReadResult.Record, result);
                Assert.Equal(expected, record.Id);
                Assert.Equal(expected, BitConverter.ToInt64(record.Payload));
                journal.Confirm(record.Id);
                expected++;
            }

            return expected - 1;
        }
    }

    [Theory]
    [InlineData(1, 300_000, 512, 512)]
    [InlineData(0, 1000, 512, 512)]
    [InlineData(0, 1000, 2048, 512)]
    public void Open_SizesThatDoNotFit_Throws(int broken, int payload, int commit, int segment) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => RecordJournal.Open(
            disk,
            new JournalOptions { BrokenBytesMax = broken, PayloadBytesMax = payload, CommitBytesMax = commit, SegmentBytes = segment },
            out _,
            out _));

    private static AppendResult AppendUntilNot(RecordJournal journal, byte[] payload)
    {
        AppendResult result;
        do
        {
            result = journal.TryAppend(payload, out _);
        }
        while (result == AppendResult.Appended);
        return result;
    }

    private static void Fill(RecordJournal journal)
    {
        byte[] payload = new byte[300];
        while (AppendUntilNot(journal, payload) == AppendResult.CommitFirst)
            journal.Commit();
        journal.Commit();
        Assert.Equal(JournalState.Healthy, journal.State);
        Assert.Equal(AppendResult.Full, journal.TryAppend(payload, out _));
    }

    private long SegmentBytesOnDisk() =>
        disk.Names.Where(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal)).Sum(n => (long)disk[n].Length);
}
