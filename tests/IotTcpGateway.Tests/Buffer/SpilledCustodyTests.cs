using IotTcpGateway.Buffer;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>What a start knows of what was safe before it.</summary>
public sealed class SpilledCustodyTests
{
    [Fact]
    public void Stop_Orderly_NextStartKnowsExactlyWhatWasSafe()
    {
        using var rig = new SpillRig();
        DeviceStream confirmed = rig.Open("confirmed", 7, 3), flushed = rig.Open("flushed");
        DeviceStream partly = rig.Open("partly", 2, 1);
        rig.Open("silent");
        rig.Add(confirmed, 1, 10);
        rig.TakeAll(isConfirmed: true);
        rig.Add(flushed, 5, 10);
        rig.Add(partly, 1, 10);
        foreach (Taken one in rig.TakeAll().Where(t => t.Device == "partly" && t.Sequence != 4))
            rig.Buffer.Confirm(one.Handle);
        rig.Buffer.SkipSequence(partly, 12);
        rig.StopAndStart();
        Assert.Equal(
            [
                new CustodyEntry("confirmed", 7, 3, 10),
                new CustodyEntry("flushed", 1, 2, 14),
                new CustodyEntry("partly", 2, 1, 12),
            ],
            rig.Custody.OrderBy(c => c.DeviceId, StringComparer.Ordinal));
        Assert.Equal(14u, rig.Open("flushed").SafeSequence);
        Assert.Equal(14u, rig.Open("flushed").HighestTaken);
    }

    [Fact]
    public void Stop_ForgottenBoot_IsNotKept()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1);
        rig.TakeAll(isConfirmed: true);
        rig.Buffer.Forget(stream);
        rig.StopAndStart();
        Assert.Empty(rig.Custody);
    }

    [Fact]
    public void Kill_NextStartKnowsWhatTheJournalTells()
    {
        using var rig = new SpillRig();
        DeviceStream early = rig.Open("early"), late = rig.Open("late", 3, 1);
        rig.Add(early, 1, 10);
        rig.TakeAll(isConfirmed: true);
        rig.Add(late, 1, 7);
        rig.SpillAll();
        rig.Add(late, 8, 2);
        rig.CutPowerAndStart();
        Assert.Equal([new CustodyEntry("late", 3, 1, 7)], rig.Custody);
    }

    [Fact]
    public void Kill_AfterAnOrderlyStop_TheHigherOfFileAndJournalHolds()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open("a"), 1, 10);
        rig.Add(rig.Open("b"), 1, 10);
        rig.StopAndStart();
        rig.Add(rig.Open("a"), 11, 5);
        rig.SpillAll();
        rig.Add(rig.Open("b"), 11, 5);
        rig.CutPowerAndStart();
        Assert.Equal(
            [("a", 15u), ("b", 10u)], rig.Custody.Select(c => (c.DeviceId, c.SafeSequence)).Order());
    }

    [Fact]
    public void Kill_AtEveryOperationOfASpill_ClaimsNothingThatIsNotThere()
    {
        for (int cut = 0; ; cut++)
        {
            using var rig = new SpillRig();
            DeviceStream stream = rig.Open();
            uint told = 0;
            rig.Add(stream, 1, 5);
            rig.SpillAll();
            rig.Directory["lane-2"].CutAt = rig.Directory["lane-2"].Operations + cut;
            bool isDone = Runs(() =>
            {
                rig.Add(stream, 6, 5);
                rig.Advance(50);
                rig.Advance(50);
                rig.Add(stream, 11, 5);
                rig.Advance(50);
                rig.Advance(50);
            });
            told = stream.SafeSequence;
            rig.CutPowerAndStart();
            uint known = Assert.Single(rig.Custody).SafeSequence;
            uint[] there = [.. rig.TakeAll().Select(t => t.Sequence)];
            Assert.Equal(Enumerable.Range(1, there.Length).Select(s => (uint)s), there);
            Assert.True(told <= there.Length, $"{told} were acknowledged, {there.Length} are there");
            Assert.True(known <= there.Length, $"{known} are said to be safe, {there.Length} are there");
            Assert.True(known >= told, $"{told} were acknowledged, {known} are known");
            if (isDone)
            {
                Assert.InRange(cut, 4, 60);
                return;
            }
        }
    }

    [Fact]
    public void Start_DamagedCustodyFile_IsNoneAndTheJournalsTell()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open("a"), 1, 10);
        rig.TakeAll(isConfirmed: true);
        rig.Add(rig.Open("b"), 1, 10);
        rig.Stop();
        byte[] content = rig.Directory.RootDisk[CustodyFile.Name];
        content[20] ^= 1;
        rig.Directory.RootDisk[CustodyFile.Name] = content;
        rig.Start();
        Assert.Equal([new CustodyEntry("b", 1, 2, 10)], rig.Custody);
        Assert.Equal(DiskState.Healthy, rig.Status.State);
        Assert.Equal(10, rig.TakeAll().Count);
    }

    [Fact]
    public void Start_MoreBootsThanMayBeKnown_IsBoundedAndTheirFramesStillGo()
    {
        using var rig = new SpillRig();
        for (uint boot = 1; boot <= 10; boot++)
            rig.Add(rig.Open("d", boot), 1, 3);
        rig.SpillAll();
        rig.BootsMax = 4;
        rig.KillAndStart();
        Assert.Equal(4, rig.Custody.Count);
        Assert.All(rig.Custody, c => Assert.Equal(3u, c.SafeSequence));
        Assert.Equal(30, rig.TakeAll(isConfirmed: true).Count);
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public void CustodyMemory_Full_CountsWhatItForgetsAndStillRaisesWhatItKnows()
    {
        var custody = new CustodyMemory(bootsMax: 1);
        custody.Learn("a", 1, 2, 5);
        custody.Learn("b", 1, 2, 5);
        custody.Learn("a", 2, 2, 5);
        custody.Learn("a", 1, 2, 9);
        custody.Learn("a", 1, 3, 4);
        Assert.Equal(2, custody.Forgotten);
        Assert.Equal([new CustodyEntry("a", 1, 3, 9)], custody.Entries);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ReleaseOwner_BeforeItHeardOfDrops_NothingOfThemIsSafeUntilTheLedgerIs(bool isForgotten)
    {
        using SpillRig rig = RigWithDropsInMemory(out DeviceStream stream, out StreamWitness owner);
        Assert.True(stream.SafeSequence > 0);
        if (isForgotten)
            rig.Buffer.Forget(stream);
        else
            rig.Buffer.ReleaseOwner(stream, owner);
        // What the next WELCOME says.
        Assert.Equal(0u, rig.Open().SafeSequence);
        rig.Advance(10);
        uint safe = rig.Open().SafeSequence;
        Assert.True(safe > 0);
        rig.CutPowerAndStart();
        Assert.Equal(SpillRig.Sequences(1, (int)safe), rig.Gaps().SelectMany(g => SpillRig.Sequences(g.From, (int)g.Count)));
    }

    [Fact]
    public void ReleaseOwner_AfterItHeardOfEveryDrop_SafeStays()
    {
        using SpillRig rig = RigWithDropsInMemory(out DeviceStream stream, out StreamWitness owner);
        uint safe;
        while (rig.Buffer.TryTakeDropped(stream, out _, out safe))
        {
        }

        rig.Buffer.ReleaseOwner(stream, owner);
        Assert.True(safe > 0);
        Assert.Equal(safe, stream.SafeSequence);
    }

    [Fact]
    public void Stop_DropsNotToldAndInTheLedger_CustodyCoversThem()
    {
        using SpillRig rig = RigWithDropsInMemory(out DeviceStream stream, out StreamWitness owner);
        rig.Stop(() => rig.Buffer.ReleaseOwner(stream, owner));
        rig.Start();
        Assert.Equal(stream.HighestTaken, Assert.Single(rig.Custody).SafeSequence);
    }

    private static SpillRig RigWithDropsInMemory(out DeviceStream stream, out StreamWitness owner)
    {
        var rig = new SpillRig(o => (o.WhenFull, o.Memory) = (WhenFull.DropOldest, 4L * RecordChunk.Bytes));
        stream = rig.Open();
        owner = new StreamWitness(stream);
        rig.Buffer.SetOwner(stream, owner);
        for (uint sequence = 1; rig.Ledger.Entries == 0; sequence++)
            rig.Add(stream, sequence);
        return rig;
    }

    private static bool Runs(Action action)
    {
        try
        {
            action();
            return true;
        }
        catch (IotTcpGateway.Journal.Tests.PowerCutException)
        {
            return false;
        }
    }
}
