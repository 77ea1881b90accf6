using System.Text;

namespace IotTcpGateway.Journal.Tests;

/// <summary>What can go wrong in a run.</summary>
[Flags]
internal enum Trouble
{
    None = 0,
    PowerCuts = 1,
    Kills = 2,
    FailingOnce = 4,
    FailingForGood = 8,
    FullDisk = 16,
    ReadOnlyDisk = 32,
    BitRot = 64,
}

/// <summary>
/// A journal, its user and its disk for some lives, from one seed; with an account outside of what was attempted,
/// acknowledged, and settled, that every start is held against.
/// </summary>
internal sealed class SimulatedWorld
{
    private readonly Random random;
    private readonly Trouble trouble;
    private readonly SimulatedDisk disk;
    private readonly JournalOptions options;

    // Payloads by id. An id that nothing was ever written of may be given again after a restart, hence several.
    private readonly Dictionary<long, List<string>> attempted = [];
    private readonly SortedDictionary<long, string> acknowledged = [];
    private readonly HashSet<long> settled = [];
    private readonly HashSet<long> rotten = [];
    private long highestAcknowledged;
    // A start that was cut short has perhaps cut a rotten tail, and nobody was told.
    private bool hasRottedUnseen;
    private long firstIdOfLife = 1;
    private int life;

    public SimulatedWorld(int seed, Trouble trouble)
    {
        random = new Random(seed);
        this.trouble = trouble;
        disk = new SimulatedDisk(random);
        options = Rig.SmallOptions(random);
        options.PreallocateBytes = random.Next(3) switch { 0 => 0, 1 => 512, _ => 2048 };
        options.CommitBytesMax = random.Next(1048, 6000);
    }

    /// <summary>How many records were acknowledged, so that a run can say that it tried.</summary>
    public int Acknowledged => acknowledged.Count;

    public void Run(int lives)
    {
        for (life = 0; life < lives; life++)
        {
            try
            {
                Live();
            }
            catch (PowerCutException)
            {
            }

            Die();
        }

        // The last start has no trouble: everything must be there.
        CalmDown();
        using RecordJournal journal = OpenAndCheck();
    }

    private void Die()
    {
        CalmDown();
        if (trouble.HasFlag(Trouble.Kills) && random.Next(3) == 0)
            disk.Kill();
        else
            disk.CutPower();
        if (trouble.HasFlag(Trouble.BitRot) && random.Next(2) == 0)
            Rot();
    }

    private void CalmDown()
    {
        disk.Fault = null;
        disk.IsReadOnly = false;
        disk.CapacityBytes = long.MaxValue;
        disk.CutAt = int.MaxValue;
    }

    private void Live()
    {
        if (trouble.HasFlag(Trouble.PowerCuts) && random.Next(4) != 0)
            disk.CutAt = disk.Operations + random.Next(random.Next(2) == 0 ? 40 : 400);
        if (random.Next(3) == 0)
            MakeTrouble(); // even before the start
        using RecordJournal? journal = TryOpen();
        if (journal is null)
            return;
        using JournalReader reader = journal.CreateReader(journal.ConfirmedThrough + 1);
        int steps = random.Next(20, 120);
        for (int step = 0; step < steps; step++)
        {
            if (random.Next(25) == 0)
                MakeTrouble();
            if (random.Next(25) == 0)
                CalmDownButForTheCut();
            Step(journal, reader);
        }
    }

    private void CalmDownButForTheCut()
    {
        int cut = disk.CutAt;
        CalmDown();
        disk.CutAt = cut;
    }

    private void MakeTrouble()
    {
        int at = disk.Operations + random.Next(10);
        if (trouble.HasFlag(Trouble.FailingOnce) && random.Next(2) == 0)
            disk.Fault = (operation, number) => number == at && CanFail(operation) ? DiskError.InputOutput : 0;
        else if (trouble.HasFlag(Trouble.FailingForGood) && random.Next(2) == 0)
            disk.Fault = (operation, number) => number >= at && CanFail(operation) ? DiskError.InputOutput : 0;
        else if (trouble.HasFlag(Trouble.FullDisk) && random.Next(2) == 0)
            disk.CapacityBytes = random.Next(0, 80_000);
        else if (trouble.HasFlag(Trouble.ReadOnlyDisk) && random.Next(2) == 0)
            disk.IsReadOnly = true;
    }

    // A read that fails is damage by definition; that is looked at elsewhere.
    private static bool CanFail(DiskOperation operation) =>
        operation is not (DiskOperation.Read or DiskOperation.Length or DiskOperation.Open or DiskOperation.List);

    private void Step(RecordJournal journal, JournalReader reader)
    {
        switch (random.Next(12))
        {
            case < 5:
                Append(journal);
                break;
            case < 8:
                Commit(journal);
                break;
            case 8:
                Read(journal, reader);
                break;
            case 9:
                _ = journal.CommitCursor();
                break;
            case 10:
                _ = journal.Trim();
                break;
            default:
                GiveUp(journal);
                break;
        }
    }

    private void Append(RecordJournal journal)
    {
        int records = random.Next(1, 6);
        for (int i = 0; i < records; i++)
        {
            string payload = $"{life}.{attempted.Count}.{new string((char)('a' + random.Next(26)), random.Next(0, 700))}";
            if (journal.TryAppend(Encoding.UTF8.GetBytes(payload), out long id) != AppendResult.Appended)
                return;
            Require(id > highestAcknowledged, $"id {id} was given to a record that is safe");
            if (!attempted.TryGetValue(id, out List<string>? payloads))
                attempted.Add(id, payloads = []);
            payloads.Add(payload);
        }
    }

    private void Commit(RecordJournal journal)
    {
        CommitResult result = journal.Commit();
        Require(result.State == JournalState.Healthy != !result.Error.IsNone, $"{result} does not say what is wrong");
        Acknowledge(journal.SyncedThrough);
    }

    private void Acknowledge(long through)
    {
        // Ids between were skipped by the start of this life.
        for (long id = Math.Max(highestAcknowledged + 1, firstIdOfLife); id <= through; id++)
        {
            if (attempted.TryGetValue(id, out List<string>? payloads))
                acknowledged[id] = payloads[^1];
        }

        if (through >= firstIdOfLife)
            highestAcknowledged = Math.Max(highestAcknowledged, through);
    }

    private void Read(RecordJournal journal, JournalReader reader)
    {
        int records = random.Next(1, 40);
        while (records-- > 0)
        {
            ReadResult result = reader.TryRead(out JournalRecord record);
            if (result == ReadResult.Record)
            {
                string payload = Encoding.UTF8.GetString(record.Payload);
                Require(attempted[record.Id].Contains(payload), $"{record.Id} was never attempted");
                Require(!acknowledged.TryGetValue(record.Id, out string? safe) || safe == payload, $"{record.Id} is another record");
                if (random.Next(10) != 0)
                    Settle(journal, new IdRange(record.Id, record.Id));
            }
            else if (result == ReadResult.Gap)
            {
                RequireExpected(reader.Gap);
                Settle(journal, reader.Gap);
            }
            else
            {
                return;
            }
        }
    }

    private void GiveUp(RecordJournal journal)
    {
        long before = journal.ConfirmedThrough;
        GivenUp givenUp = default;
        try
        {
            if (random.Next(2) == 0)
                _ = journal.DropOldest(out givenUp);
            else
                givenUp = journal.GiveUpThrough(before + random.Next(10));
        }
        finally
        {
            // Also when the power was cut in it: that it was given up may be durable.
            for (long id = givenUp.Range.First; id <= givenUp.Range.Last; id++)
                settled.Add(id);
        }
    }

    private void Settle(RecordJournal journal, IdRange ids)
    {
        for (long id = ids.First; id <= ids.Last; id++)
            settled.Add(id);
        if (ids.Count == 1)
            journal.Confirm(ids.First);
        else
            journal.Confirm(ids);
    }

    private RecordJournal? TryOpen()
    {
        if (disk.Fault is null && !disk.IsReadOnly)
            return OpenAndCheck();
        DiskError error = RecordJournal.Open(disk, options, out RecordJournal? journal, out RecoveryReport report);
        Require(error.IsNone, "only a directory that cannot be listed stops it");
        Check(journal!, report);
        return journal;
    }

    private RecordJournal OpenAndCheck()
    {
        RecordJournal journal = Rig.Open(disk, options, out RecoveryReport report);
        Check(journal, report);
        return journal;
    }

    private void Check(RecordJournal journal, RecoveryReport report)
    {
        // Without cursor and without the first header nobody knows where the journal began.
        bool isBeginningUnknown = report.Cursor == CursorState.Lost && report.DamagedHeaders + report.BrokenSegments > 0;
        for (long id = 1; id <= report.ConfirmedThrough; id++)
        {
            if (!acknowledged.ContainsKey(id) || settled.Contains(id) || rotten.Contains(id))
                continue;
            Require(isBeginningUnknown || hasRottedUnseen, $"the cursor leads: {id} was not confirmed");
            rotten.Add(id);
        }

        var gaps = new List<IdRange>();
        List<(long Id, string Payload)> found = journal.ReadAll(report.ConfirmedThrough + 1, gaps);
        long last = 0;
        foreach ((long id, string payload) in found)
        {
            Require(id > last, $"{id} after {last}");
            last = id;
            Require(attempted.TryGetValue(id, out List<string>? payloads) && payloads.Contains(payload), $"{id} was never attempted");
            Require(!acknowledged.TryGetValue(id, out string? safe) || safe == payload, $"{id} is another record");
        }

        var ids = found.Select(f => f.Id).ToHashSet();
        foreach (long id in acknowledged.Keys)
        {
            if (id <= report.ConfirmedThrough || ids.Contains(id))
                continue;
            Require(trouble.HasFlag(Trouble.BitRot), $"{id} was acknowledged and is lost");
            rotten.Add(id);
        }

        ExcuseWhatIsNotWrittenAgain(report);
        foreach (IdRange gap in gaps)
            RequireExpected(gap);
        // Both slots rotted while there was no segment: ids begin again, of nothing that is left.
        if (report is { Cursor: CursorState.Lost, Segments: 0 })
            Forget();
        Require(journal.LastId + 1 > highestAcknowledged, $"{journal.LastId + 1} would be given again");
        // What a start has found is as good as acknowledged, if it was read from the disk.
        foreach ((long id, string payload) in report.IsFromDisk ? found : [])
            acknowledged[id] = payload;
        if (report.IsFromDisk)
            highestAcknowledged = Math.Max(highestAcknowledged, journal.SyncedThrough);
        firstIdOfLife = journal.LastId + 1;
        hasRottedUnseen = false;
    }

    // Two faults at once: rot has made a hole in the last commit, and the disk does not say what of that commit it has.
    // Nobody can tell the hole from a torn write, so what is behind it is not written again; but it is told.
    private void ExcuseWhatIsNotWrittenAgain(RecoveryReport report)
    {
        if (!hasRottedUnseen || !report.IsLastCommitWrittenAgain)
            return;
        foreach (DamagedRange damaged in report.Damage.Where(d => !d.IsProven))
        {
            for (long id = damaged.Ids.First; id <= damaged.Ids.Last; id++)
                rotten.Add(id);
        }
    }

    private void Forget()
    {
        attempted.Clear();
        acknowledged.Clear();
        settled.Clear();
        rotten.Clear();
        highestAcknowledged = 0;
    }

    private void RequireExpected(IdRange gap)
    {
        for (long id = gap.First; id <= gap.Last; id++)
        {
            Require(!acknowledged.ContainsKey(id) || settled.Contains(id) || rotten.Contains(id), $"{id} is there, and in a gap");
        }
    }

    private void Rot()
    {
        List<string> segments = disk.Names.Where(n => n.EndsWith(SegmentName.Suffix, StringComparison.Ordinal) || n == "cursor").ToList();
        if (segments.Count == 0)
            return;
        string name = segments[random.Next(segments.Count)];
        byte[] bytes = disk[name];
        if (bytes.Length == 0)
            return;
        hasRottedUnseen = true;
        int flips = random.Next(1, 4);
        for (int i = 0; i < flips; i++)
            bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
        disk[name] = bytes;
    }

    private static void Require(bool holds, string otherwise)
    {
        if (!holds)
            throw new InvalidOperationException(otherwise);
    }
}
