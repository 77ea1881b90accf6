using System.Buffers.Binary;

using Xunit;

namespace IotTcpGateway.Journal.Tests;

/// <summary>Every truncation and every bit flip of a small journal, and other things that are found in directories.</summary>
public class DamageTests
{
    private const int Records = 40;

    [Fact]
    public void Open_EveryBitFlipped_LosesAtMostThatRecordAndSaysSo()
    {
        Dictionary<string, byte[]> files = SmallJournal(out List<(long Id, string Payload)> all);
        foreach ((string name, byte[] bytes) in files.Where(f => f.Key != "reserve"))
        {
            for (int bit = 0; bit < bytes.Length * 8; bit++)
            {
                byte[] damaged = [.. bytes];
                damaged[bit / 8] ^= (byte)(1 << (bit % 8));
                SimulatedDisk disk = DiskWith(files, name, damaged);
                using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
                List<(long Id, string Payload)> found = journal.ReadAll();
                Assert.Subset(all.ToHashSet(), found.ToHashSet());
                Assert.True(found.Count >= Records - 1, $"{name}, bit {bit}: {Records - found.Count} records lost");
                bool isSilent = report.IsClean && found.Count < Records;
                Assert.False(isSilent, $"{name}, bit {bit}: a lost record is not reported");
                Assert.True(journal.LastId >= Records, $"{name}, bit {bit}: an id would be given again");
                if (name == "cursor")
                    Assert.Equal(Records, found.Count);
            }
        }
    }

    [Theory]
    [InlineData("ffffffffffffffff-0000000000000101.seg")]
    [InlineData("8000000000000001-0000000000000101.seg")] // one bit from a name that is right
    public void Open_SegmentWithANumberThatNoJournalComesTo_IsSetAside(string name)
    {
        // Bug, found by fuzzing: the number after the last one is 0, so that what was written next came first, and was not
        // read again.
        Dictionary<string, byte[]> files = SmallJournal(out List<(long Id, string Payload)> all);
        SimulatedDisk disk = DiskWith(files, name, new byte[100]);
        using (RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report))
        {
            Assert.Equal(1, report.AlienFiles);
            journal.AppendAll(3);
        }

        using RecordJournal again = Rig.Open(disk, Rig.SmallOptions(), out _);
        Assert.Equal(all.Count + 3, again.ReadAll().Count);
    }

    [Fact]
    public void Confirm_AnIdFarAhead_CostsNoMemoryForThoseBeforeIt()
    {
        // Bug, found by fuzzing: behind a record with a huge id the bits of all ids before it were asked for: gigabytes,
        // or an overflow.
        const long far = 1L << 60;
        var confirmed = new ConfirmedIds();
        confirmed.Start(4);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (long id = far; id < far + 1000; id++)
            confirmed.Confirm(id);
        confirmed.Confirm(6);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 100_000);
        Assert.Equal(4, confirmed.Through);
        Assert.True(confirmed.IsConfirmed(far) && confirmed.IsConfirmed(far + 999) && confirmed.IsConfirmed(6));
        Assert.False(confirmed.IsConfirmed(far - 1) || confirmed.IsConfirmed(far + 1000) || confirmed.IsConfirmed(5));
        // 5, and 7 to far - 1; 6 and what is from far on is settled.
        Assert.Equal(1 + (far - 7), confirmed.GiveUpThrough(far + 10).Count);
        Assert.Equal(far + 999, confirmed.Through);
    }

    [Fact]
    public void Open_CursorWithNumbersBelowZero_IsNotBelieved()
    {
        // Bug, found by fuzzing: the first segment after it had a header that the next start took for another file's, so
        // what was synced in it was set aside unread.
        Dictionary<string, byte[]> files = SmallJournal(out _);
        byte[] cursor = files["cursor"];
        for (int slot = 0; slot < cursor.Length; slot += 4096)
        {
            for (int at = slot + 24; at < slot + 48; at += sizeof(long))
                BinaryPrimitives.WriteInt64LittleEndian(cursor.AsSpan(at), -1);
            BinaryPrimitives.WriteUInt32LittleEndian(
                cursor.AsSpan(slot + 60), Crc32C.Compute(cursor.AsSpan(slot, 60)));
        }

        var disk = new SimulatedDisk(new Random(1)) { ["cursor"] = cursor };
        using (RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report))
        {
            Assert.Equal(CursorState.Lost, report.Cursor);
            journal.AppendAll(3);
        }

        using RecordJournal again = Rig.Open(disk, Rig.SmallOptions(), out _);
        Assert.Equal(3, again.ReadAll().Count);
    }


    [Fact]
    public void Open_EveryTruncation_KeepsWhatIsBeforeItAndWhatIsInOtherSegments()
    {
        Dictionary<string, byte[]> files = SmallJournal(out List<(long Id, string Payload)> all);
        foreach ((string name, byte[] bytes) in files.Where(f => f.Key.EndsWith(SegmentName.Suffix, StringComparison.Ordinal)))
        {
            long[] inSegment = [.. IdsIn(bytes, name)];
            for (int length = 0; length < bytes.Length; length++)
            {
                SimulatedDisk disk = DiskWith(files, name, bytes[..length]);
                using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
                HashSet<long> found = [.. journal.ReadAll().Select(f => f.Id)];
                long[] whole = [.. IdsIn(bytes[..length], name)];
                HashSet<long> expected = [.. all.Select(a => a.Id).Except(inSegment).Concat(whole)];
                Assert.True(expected.SetEquals(found), $"{name} of {length} bytes: {string.Join(",", found)}");
                Assert.True(found.Count == Records || !report.IsClean, $"{name} of {length} bytes: not reported");
                Assert.True(journal.LastId >= found.DefaultIfEmpty().Max());
            }
        }
    }

    [Fact]
    public void Open_EveryTruncationOfTheCursor_StartsFromTheOldest()
    {
        Dictionary<string, byte[]> files = SmallJournal(out _);
        for (int length = 0; length < files["cursor"].Length; length += 16)
        {
            SimulatedDisk disk = DiskWith(files, "cursor", files["cursor"][..length]);
            using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
            Assert.Equal(Records, journal.ReadAll().Count);
            Assert.NotEqual(CursorState.New, report.Cursor);
        }
    }

    [Fact]
    public void Open_CursorGone_ReadsEverythingAgainAndSaysSo()
    {
        Dictionary<string, byte[]> files = SmallJournal(out _, confirmed: 10);
        SimulatedDisk disk = DiskWith(files, "cursor", files["cursor"]);
        Assert.Equal(Records - 10, CountVisited(disk, out RecoveryReport whole));
        Assert.Equal(CursorState.Whole, whole.Cursor);
        disk = DiskWith(files, "cursor", files["cursor"]);
        disk.Remove("cursor");
        Assert.Equal(Records, CountVisited(disk, out RecoveryReport report));
        Assert.Equal(CursorState.Lost, report.Cursor);
        Assert.False(report.IsClean);
    }

    [Fact]
    public void Open_MiddleOverwritten_FindsTheNextRecordAndTellsTheGap()
    {
        Dictionary<string, byte[]> files = SmallJournal(out _);
        string name = files.Keys.First(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        byte[] damaged = [.. files[name]];
        new Random(1).NextBytes(damaged.AsSpan(300, 700));
        SimulatedDisk disk = DiskWith(files, name, damaged);
        using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        var gaps = new List<IdRange>();
        List<(long Id, string Payload)> found = journal.ReadAll(1, gaps);
        DamagedRange range = Assert.Single(report.Damage);
        Assert.Equal(range.Ids, Assert.Single(gaps));
        Assert.True(range.IsProven);
        Assert.Equal(Records, found.Count + range.Ids.Count);
        Assert.Equal(0, report.TornBytes);
    }

    [Fact]
    public void Open_TornTail_IsCutAndCopied()
    {
        Dictionary<string, byte[]> files = SmallJournal(out _);
        string newest = files.Keys.Last(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        byte[] torn = [.. files[newest], .. "half a record, then the power was gone"u8, 0, 0, 0];
        SimulatedDisk disk = DiskWith(files, newest, torn);
        using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        Assert.Equal(Records, journal.ReadAll().Count);
        Assert.Equal(38, report.TornBytes);
        Assert.True(report.IsTornTailCut);
        Assert.Equal(0, report.MissingRecords);
        Assert.Equal(files[newest], disk[newest]);
        string copy = Assert.Single(disk.Names, n => n.EndsWith(".broken", StringComparison.Ordinal));
        Assert.Equal("half a record, then the power was gone"u8, disk[copy]);
        Assert.True(journal.LastId > Records);
        journal.AppendAll(1, "after ");
        var gaps = new List<IdRange>();
        Assert.Equal("after 1", journal.ReadAll(1, gaps)[^1].Payload);
        Assert.Empty(gaps);
    }

    [Fact]
    public void Open_ManyTornTails_KeepsCopiesWithinTheCap()
    {
        var disk = new SimulatedDisk(new Random(1));
        for (int i = 1; i <= 12; i++)
        {
            using (RecordJournal journal = Rig.Open(disk))
                journal.Append(new string('x', 900));
            string name = $"{i:x16}-{i:x16}.seg";
            byte[] noise = new byte[3000];
            new Random(i).NextBytes(noise);
            disk[name] = noise;
            Rig.Open(disk).Dispose();
        }

        List<string> copies = disk.Names.Where(n => n.EndsWith(".broken", StringComparison.Ordinal)).ToList();
        Assert.InRange(copies.Sum(n => disk[n].Length), 3000, 8192);
        Assert.Contains($"{12:x16}-{12:x16}.seg.broken", copies);
    }

    [Fact]
    public void Open_HeaderDamaged_ReadsTheRecordsAllTheSame()
    {
        Dictionary<string, byte[]> files = SmallJournal(out _);
        string name = files.Keys.First(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        byte[] damaged = [.. files[name]];
        damaged.AsSpan(0, SegmentHeader.Bytes).Fill(0xEE);
        SimulatedDisk disk = DiskWith(files, name, damaged);
        using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        Assert.Equal(Records, journal.ReadAll().Count);
        Assert.Equal(1, report.DamagedHeaders);
    }

    [Fact]
    public void Open_AlienFiles_AreSetAside()
    {
        Dictionary<string, byte[]> files = SmallJournal(out _);
        string name = files.Keys.First(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        SimulatedDisk disk = DiskWith(files, "holiday.jpg", [1, 2, 3]);
        disk[".lock"] = [];
        disk["0000000000000099-00000000000000aa.seg"] = files[name]; // a segment under another's name
        byte[] future = [.. files[name]];
        future[8] = 2;
        BitConverter.TryWriteBytes(future.AsSpan(60), Crc32C.Compute(future.AsSpan(0, 60)));
        disk[name] = future;
        using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        Assert.Equal(3, report.AlienFiles);
        Assert.Contains("holiday.jpg.alien", disk.Names);
        Assert.Contains("0000000000000099-00000000000000aa.seg.alien", disk.Names);
        Assert.Contains(name + ".alien", disk.Names);
        Assert.Contains(".lock", disk.Names);
        Assert.NotEmpty(journal.ReadAll());
    }

    [Fact]
    public void Open_RecordOfANewerSegmentInAnOlderOne_IsNoRecord()
    {
        // A misdirected write, at the same place in the wrong file. If its higher id counted, what follows would not.
        Dictionary<string, byte[]> files = SmallJournal(out _);
        string[] names = [.. files.Keys.Where(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal)).Order()];
        const int recordBytes = 40;
        byte[] damaged = [.. files[names[0]]];
        files[names[1]].AsSpan(SegmentHeader.Bytes, recordBytes).CopyTo(damaged.AsSpan(SegmentHeader.Bytes));
        SimulatedDisk disk = DiskWith(files, names[0], damaged);
        using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        List<(long Id, string Payload)> found = journal.ReadAll();
        Assert.Equal(Records - 2, found.Count);
        Assert.Equal(found.Select(f => $"record {f.Id}"), found.Select(f => f.Payload));
        Assert.Equal(2, report.MissingRecords);
    }

    [Fact]
    public void Open_LaterRecordOverAnEarlierOne_CostsTheEarlierAlone()
    {
        Dictionary<string, byte[]> files = SmallJournal(out _);
        string name = files.Keys.First(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        const int recordBytes = 32;
        byte[] damaged = [.. files[name]];
        damaged.AsSpan(SegmentHeader.Bytes + (5 * recordBytes), recordBytes).CopyTo(damaged.AsSpan(SegmentHeader.Bytes));
        SimulatedDisk disk = DiskWith(files, name, damaged);
        using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        Assert.Equal(Records - 1, journal.ReadAll().Count);
        Assert.Equal(new IdRange(1, 1), Assert.Single(report.Damage).Ids);
    }

    [Fact]
    public void Open_LengthBeyondEverything_IsNotBelieved()
    {
        // A header that is whole in itself, as only somebody with the nonce could write it.
        Dictionary<string, byte[]> files = SmallJournal(out _);
        string newest = files.Keys.Last(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        Assert.True(SegmentName.TryParse(newest, out SegmentName name));
        foreach (int length in (int[])[int.MaxValue, -1, RecordHeader.PayloadBytesMax + 1, RecordHeader.PayloadBytesMax, 4096])
        {
            byte[] record = new byte[RecordHeader.Bytes];
            RecordHeader.Write(record, name.Nonce, files[newest].Length, length, Records + 1, 0);
            SimulatedDisk disk = DiskWith(files, newest, [.. files[newest], .. record]);
            using RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
            Assert.Equal(Records, journal.ReadAll().Count);
            Assert.Equal(RecordHeader.Bytes, report.TornBytes);
        }
    }

    [Fact]
    public void Open_HoleInTheLastCommit_LeavesWhatIsBehindItInDoubt()
    {
        var disk = new SimulatedDisk(new Random(1));
        using (RecordJournal journal = Rig.Open(disk))
        {
            journal.AppendAll(2);
            for (int i = 0; i < 4; i++)
                journal.Append($"last {i}");
            journal.Commit();
        }

        string segment = disk.Names.Single(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        byte[] bytes = disk[segment];
        int hole = bytes.AsSpan().IndexOf("last 1"u8);
        bytes[hole] ^= 1;
        disk[segment] = bytes;
        var seen = new List<(long, bool)>();
        RecordVisitor visitor = (in JournalRecord r) => seen.Add((r.Id, r.IsDoubtful));
        using (RecordJournal journal = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report, visitor))
        {
            Assert.Equal([(1, false), (2, false), (3, false), (5, true), (6, true)], seen);
            Assert.False(Assert.Single(report.Damage).IsProven);

            // A later start's segment proves nothing of it either.
            journal.AppendAll(1);
        }

        seen.Clear();
        using (Rig.Open(disk, Rig.SmallOptions(), out _, visitor))
            Assert.Equal([(1, false), (2, false), (3, false), (5, true), (6, true), (7, false)], seen);
    }

    [Fact]
    public void Open_HoleInACommitThatWasFollowed_IsProven()
    {
        var disk = new SimulatedDisk(new Random(1));
        using (RecordJournal journal = Rig.Open(disk))
        {
            journal.AppendAll(1);
            for (int i = 0; i < 3; i++)
                journal.Append($"middle {i}");
            journal.Commit();
            journal.AppendAll(1);
        }

        string segment = disk.Names.Single(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal));
        byte[] bytes = disk[segment];
        bytes[bytes.AsSpan().IndexOf("middle 1"u8)] ^= 1;
        disk[segment] = bytes;
        var doubtful = new List<long>();
        using RecordJournal again = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report, (in JournalRecord r) =>
        {
            if (r.IsDoubtful)
                doubtful.Add(r.Id);
        });
        Assert.Empty(doubtful);
        Assert.Equal(new DamagedRange(new IdRange(3, 3), segment, IsProven: true), Assert.Single(report.Damage));
    }

    [Fact]
    public void Open_KilledBeforeTheSync_MakesDurableWhatItFinds()
    {
        var disk = new SimulatedDisk(new Random(1));
        RecordJournal journal = Rig.Open(disk);
        journal.AppendAll(1);
        journal.Append("written, not synced");
        disk.Fault = (operation, _) => operation == DiskOperation.Sync ? throw new PowerCutException() : 0;
        try
        {
            journal.Commit();
        }
        catch (PowerCutException)
        {
        }

        disk.Fault = null;
        disk.Kill();
        using RecordJournal again = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        int found = again.ReadAll().Count;
        Assert.True(report.IsFromDisk);
        disk.CutPower();
        using RecordJournal last = Rig.Open(disk);
        Assert.Equal(found, last.ReadAll().Count);
    }

    private static int CountVisited(SimulatedDisk disk, out RecoveryReport report)
    {
        int visited = 0;
        Rig.Open(disk, Rig.SmallOptions(), out report, (in JournalRecord r) => visited += r.IsConfirmed ? 0 : 1).Dispose();
        return visited;
    }

    private static Dictionary<string, byte[]> SmallJournal(out List<(long Id, string Payload)> all, long confirmed = 0)
    {
        var disk = new SimulatedDisk(new Random(1));
        JournalOptions options = Rig.SmallOptions();
        options.SegmentBytes = 1200;
        options.PayloadBytesMax = 1024;
        using RecordJournal journal = Rig.Open(disk, options);
        journal.AppendAll(Records);
        for (long id = 1; id <= confirmed; id++)
            journal.Confirm(id);
        journal.CommitCursor();
        all = journal.ReadAll();
        Assert.Equal(Records, all.Count);
        Rig.Open(disk, options).Dispose(); // cuts the zeros
        return disk.Names.ToDictionary(n => n, n => disk[n]);
    }

    private static SimulatedDisk DiskWith(Dictionary<string, byte[]> files, string changed, byte[] bytes)
    {
        var disk = new SimulatedDisk(new Random(1));
        foreach ((string name, byte[] content) in files)
            disk[name] = content;
        disk[changed] = bytes;
        return disk;
    }

    private static List<long> IdsIn(byte[] segment, string file)
    {
        Assert.True(SegmentName.TryParse(file, out SegmentName name));
        var ids = new List<long>();
        for (int at = SegmentHeader.Bytes; at + RecordHeader.Bytes <= segment.Length;)
        {
            if (!RecordHeader.TryRead(segment.AsSpan(at), name.Nonce, at, out RecordHeader header)
                || at + header.TotalBytes > segment.Length)
            {
                break;
            }

            ids.Add(header.Id);
            at += header.TotalBytes;
        }

        return ids;
    }
}
