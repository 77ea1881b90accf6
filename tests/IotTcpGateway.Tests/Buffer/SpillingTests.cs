using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>What goes to disk, when, and what is acknowledged for it.</summary>
public sealed class SpillingTests
{
    private const string Lane = "lane-2";

    [Fact]
    public void Step_RecordsYoungAndMemoryBelowItsMark_TouchesNothing()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        int untouched = rig.Directory.RootDisk.Operations;
        for (uint sequence = 1; sequence <= 200; sequence++)
        {
            rig.Add(stream, sequence);
            rig.Advance(15);
            if (sequence > 100)
                rig.TakeAll(isConfirmed: true, max: 2);
        }

        Assert.Empty(rig.Directory.Folders);
        Assert.Equal(untouched, rig.Directory.RootDisk.Operations);
        Assert.False(rig.Status.IsSpilling);
    }

    [Fact]
    public void Step_OldestRecordReachesSpillAfter_EverythingGoesToDiskAndIsSafe()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 10);
        rig.Advance(1999);
        Assert.Empty(rig.Directory.Folders);
        rig.Add(stream, 11, 10);
        rig.Advance(1);
        rig.Advance(50);
        Assert.Equal([Lane], rig.Directory.Folders);
        Assert.Equal(20u, stream.SafeSequence);
        Assert.Equal(new LaneFill(20, 20, 0), rig.Buffer.FillOf(2));
        Assert.True(rig.Status.IsSpilling);
        Assert.Equal(20, rig.Status.Records);
    }

    [Fact]
    public void Step_RecordAppended_IsAcknowledgedAfterTheSyncAndNotBefore()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        var witness = new StreamWitness(stream);
        rig.Buffer.SetOwner(stream, witness);
        rig.Add(stream, 1);
        // The first commit makes the segment: what is asked at its syncs is asked before it is done.
        rig.Directory.Fault = operation =>
        {
            if (operation is DiskOperation.Sync or DiskOperation.SyncDirectory or DiskOperation.Write)
                Assert.Equal(0u, stream.SafeSequence);
            return 0;
        };
        rig.Advance(2000);
        Assert.False(rig.Buffer.HasUnspilled(2));
        Assert.Equal(0u, stream.SafeSequence);
        Assert.Empty(witness.Told);
        rig.Advance(50);
        Assert.Equal(1u, stream.SafeSequence);
        Assert.Equal([1u], witness.Told);
    }

    [Fact]
    public void Step_WhileSpilling_OneSyncIn50Milliseconds()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1);
        rig.Advance(2000);
        rig.Advance(50);
        int before = rig.Directory.Count(Lane, DiskOperation.Sync);
        for (uint ms = 0; ms < 500; ms += 10)
        {
            rig.Add(stream, 2 + (ms / 10));
            Assert.Equal(LaneSpiller.CommitInterval, rig.Advance(10));
        }

        Assert.InRange(rig.Directory.Count(Lane, DiskOperation.Sync) - before, 8, 10);
        Assert.True(stream.SafeSequence >= 51 - 6, $"{stream.SafeSequence} of 51 are safe");
    }

    [Fact]
    public void Step_256KiBPending_AreCommittedAtOnce()
    {
        using var rig = new SpillRig(o => o.Disk = 8 << 20);
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 300);
        rig.Time.Advance(rig.Options.SpillAfter);
        TimeSpan wait = rig.Spiller.Step();
        // No time has passed: what is less than a commit of 256 KiB waits for its 50 ms.
        Assert.InRange(stream.SafeSequence, 200u, 270u);
        Assert.Equal(TimeSpan.Zero, wait);
        rig.Spiller.Step();
        Assert.InRange(stream.SafeSequence, 200u, 270u);
        rig.Advance(50);
        Assert.Equal(300u, stream.SafeSequence);
    }

    [Fact]
    public void Step_256KiBOfFewLargeRecords_AreCommittedAtOnce()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 60, bytes: 6000);
        rig.Time.Advance(rig.Options.SpillAfter);
        rig.Spiller.Step();
        Assert.Equal(60u, stream.SafeSequence);
    }

    [Fact]
    public void Step_MemoryAboveItsMark_IsSpilledHoweverYoung()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        int due = 0;
        rig.Buffer.SpillDue += () => due++;
        uint sequence = 0;
        while (due == 0)
            rig.Add(stream, ++sequence);
        Assert.Equal(8 * RecordChunk.Bytes, rig.Buffer.MemoryBytes);
        rig.Spiller.Step();
        rig.Advance(50);
        rig.Advance(50);
        Assert.Equal(sequence, stream.SafeSequence);
    }

    [Fact]
    public void Step_ConfirmedWhileItsCommitIsUnderWay_IsSettledOnce()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 3);
        List<Taken> taken = rig.TakeAll();
        rig.Advance(2000);
        Assert.False(rig.Buffer.HasUnspilled(2));
        bool isConfirmed = false;
        rig.Directory.Fault = operation =>
        {
            if (operation == DiskOperation.Write && !isConfirmed)
            {
                isConfirmed = true;
                rig.Buffer.Confirm(taken[1].Handle);
            }

            return 0;
        };
        rig.Advance(50);
        Assert.True(isConfirmed);
        Assert.Equal(3u, stream.SafeSequence);
        Assert.Equal(new LaneFill(2, 2, 0), rig.Buffer.FillOf(2));
        rig.Buffer.Confirm(taken[0].Handle);
        rig.Buffer.Confirm(taken[2].Handle);
        Assert.Equal(0, rig.Buffer.Records);
        rig.KillAndStart();
        Assert.InRange(rig.Buffer.Records, 0, 3);
    }

    [Fact]
    public void Step_BacklogConfirmed_SpillingEndsAndTheDiskIsLeftAlone()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 50);
        rig.SpillAll();
        Assert.Equal(50, rig.TakeAll(isConfirmed: true).Count);
        rig.Pass(TimeSpan.FromSeconds(10), TimeSpan.FromMilliseconds(250));
        Assert.False(rig.Status.IsSpilling);
        int operations = rig.Directory[Lane].Operations;
        for (uint sequence = 51; sequence <= 90; sequence++)
        {
            rig.Add(stream, sequence);
            rig.Advance(250);
            rig.TakeAll(isConfirmed: true);
        }

        Assert.Equal(operations, rig.Directory[Lane].Operations);
        Assert.Equal(90u, stream.SafeSequence);
    }

    [Fact]
    public void Step_BrokerKeepsAlmostUp_SpillsUntilNothingOldIsUnconfirmed()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 10);
        rig.SpillAll();
        rig.Add(stream, 11);
        rig.Advance(50);
        rig.Advance(50);
        Assert.Equal(11u, stream.SafeSequence);
        rig.TakeAll(isConfirmed: true);
        rig.Add(stream, 12);
        rig.Advance(1900);
        Assert.False(rig.Status.IsSpilling);
        Assert.Equal(11u, stream.SafeSequence);
    }

    [Fact]
    public void Stop_YoungRecords_AreFlushed()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 700);
        rig.Stop();
        Assert.Equal(700u, stream.SafeSequence);
        rig.Start();
        Assert.Equal(new LaneFill(700, 700, 700), rig.Buffer.FillOf(2));
    }

    [Fact]
    public void Step_DeviceThatWaitsForTheBroker_IsNoReasonToSpillOthers()
    {
        using var rig = new SpillRig();
        DeviceStream waiting = rig.Open("waiting"), other = rig.Open("other");
        rig.Add(waiting, 1);
        rig.Buffer.BeginWaiting("waiting");
        rig.Advance(3000);
        rig.Add(other, 1);
        rig.Advance(1900);
        Assert.Empty(rig.Directory.Folders);
        rig.Buffer.EndWaiting("waiting", []);
        rig.Advance(1);
        rig.Advance(50);
        Assert.Equal((1u, 1u), (waiting.SafeSequence, other.SafeSequence));
    }

    [Fact]
    public void Step_AckMemory_IsSpilledAllTheSame()
    {
        using var rig = new SpillRig(o => o.Ack = AckPolicy.Memory);
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 5);
        Assert.Equal(5u, stream.SafeSequence);
        rig.SpillAll();
        rig.KillAndStart();
        Assert.Equal([1u, 2u, 3u, 4u, 5u], rig.TakeAll().Select(t => t.Sequence));
    }
}
