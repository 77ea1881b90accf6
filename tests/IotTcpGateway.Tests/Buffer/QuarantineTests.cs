using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>What the broker refuses for good.</summary>
public sealed class QuarantineTests
{
    private const string Folder = "quarantine";

    [Fact]
    public void Refuse_Frame_IsSafeAfterItsSyncInQuarantineAndNotBefore()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Buffer.SetOwner(stream, new StreamWitness(stream));
        rig.Add(stream, 1, 2);
        List<Taken> taken = rig.TakeAll();
        rig.Directory.Fault = operation =>
        {
            Assert.True(stream.SafeSequence == 0, $"safe before {operation}");
            return 0;
        };
        rig.Buffer.Refuse(taken[0].Handle, "packet too large");
        Assert.Equal(0u, stream.SafeSequence);
        rig.Directory.Fault = operation => operation == DiskOperation.Sync && stream.SafeSequence > 0 ? 5 : 0;
        rig.Spiller.Step();
        Assert.Equal(1u, stream.SafeSequence);
        Assert.True(rig.Directory.Count(Folder, DiskOperation.Sync) > 0);
        Assert.False(rig.Buffer.TryTakeDropped(stream, out _, out _), "its device is told ACK, not NACK");
        Assert.Equal(1, rig.Status.Quarantined);
        (SpilledRecordView view, string reason) = Assert.Single(Quarantined(rig));
        Assert.Equal((new SpilledRecordView("pump-7", 1), "packet too large"), (view, reason));
    }

    [Fact]
    public void Refuse_Frame_IsToldAsRefusedInTheLedger()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1, 1);
        rig.Buffer.Refuse(Assert.Single(rig.TakeAll()).Handle, "no");
        rig.Spiller.Step();
        GapReport gap = Assert.Single(rig.Gaps());
        Assert.Equal(("pump-7", 1u, 1u, DropReason.Refused), (gap.DeviceId, gap.From, gap.To, gap.Reason));
    }

    [Fact]
    public void Refuse_ThenTheLinkIsLost_IsNotTakenAgain()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 3);
        rig.Buffer.Refuse(rig.TakeAll()[1].Handle, "no");
        rig.Buffer.Rewind();
        Assert.Equal([1u, 3u], rig.TakeAll().Select(t => t.Sequence));
        rig.Spiller.Step();
        Assert.Equal(1, rig.Status.Quarantined);
        Assert.Equal(2, rig.Buffer.Records);
    }

    [Fact]
    public void Refuse_FrameThatIsOnDisk_LeavesItsLane()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 3);
        rig.SpillAll();
        List<Taken> taken = rig.TakeAll();
        rig.Buffer.Refuse(taken[0].Handle, "no");
        rig.Spiller.Step();
        Assert.Equal(1, rig.Status.Quarantined);
        rig.StopAndStart();
        Assert.Equal([2u, 3u], rig.TakeAll().Select(t => t.Sequence));
    }

    [Fact]
    public void Refuse_KilledBeforeTheSync_TheFrameIsStillInItsLane()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1, 3);
        rig.SpillAll();
        rig.Buffer.Refuse(rig.TakeAll()[0].Handle, "no");
        rig.CutPowerAndStart();
        Assert.Equal([1u, 2u, 3u], rig.TakeAll().Select(t => t.Sequence));
    }

    [Fact]
    public void Refuse_QuarantineFull_ItsOldestGoAndTheNewestAreKept()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        for (uint sequence = 1; sequence <= 2500; sequence++)
        {
            rig.Add(stream, sequence);
            rig.Buffer.Refuse(Assert.Single(rig.TakeAll()).Handle, "no");
            rig.Advance(1);
        }

        Assert.Equal(2500, rig.Status.Quarantined);
        Assert.Equal(2500u, stream.SafeSequence);
        Assert.True(rig.Disk.Quarantine!.Journal.DiskBytes <= rig.Options.Quarantine);
        uint[] kept = [.. Quarantined(rig).Select(q => q.View.Sequence)];
        Assert.InRange(kept.Length, 500, 1000);
        Assert.Equal(Enumerable.Range(2501 - kept.Length, kept.Length).Select(s => (uint)s), kept);
    }

    [Theory]
    [InlineData(DiskError.InputOutput)]
    [InlineData(DiskError.NoSpace)]
    [InlineData(DiskError.ReadOnly)]
    public void Refuse_DiskRefuses_DeviceIsToldByNackAndTheNextOneGoesThereAgain(int errno)
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Buffer.SetOwner(stream, new StreamWitness(stream));
        rig.Add(stream, 1, 3);
        List<Taken> taken = rig.TakeAll();
        rig.Buffer.Refuse(taken[0].Handle, "no");
        rig.Spiller.Step();
        rig.Directory.Refuse(errno, DiskOperation.Write, DiskOperation.Sync, DiskOperation.Open);
        rig.Buffer.Refuse(taken[1].Handle, "no");
        rig.Spiller.Step();
        Assert.True(rig.Buffer.TryTakeDropped(stream, out DroppedFrame dropped, out _));
        Assert.Equal(new DroppedFrame(2, DropReason.Refused), dropped);
        Assert.Equal(2u, stream.SafeSequence);
        rig.Directory.Fault = null;
        rig.Pass(TimeSpan.FromSeconds(5), TimeSpan.FromMilliseconds(250));
        rig.Buffer.Refuse(taken[2].Handle, "no");
        rig.Spiller.Step();
        Assert.Equal(2, rig.Status.Quarantined);
        Assert.False(rig.Buffer.TryTakeDropped(stream, out _, out uint safe));
        Assert.Equal(3u, safe);
    }

    [Fact]
    public void Refuse_WithoutADisk_IsDroppedWithNack()
    {
        using var rig = new SpillRig();
        rig.Buffer.HasQuarantine = false;
        DeviceStream stream = rig.Open();
        rig.Buffer.SetOwner(stream, new StreamWitness(stream));
        rig.Add(stream, 1);
        rig.Buffer.Refuse(Assert.Single(rig.TakeAll()).Handle, "no");
        Assert.True(rig.Buffer.TryTakeDropped(stream, out DroppedFrame dropped, out _));
        Assert.Equal(new DroppedFrame(1, DropReason.Refused), dropped);
        Assert.Empty(rig.Directory.Folders);
    }

    [Fact]
    public void Refuse_DirectoryNeverOpened_IsDroppedWithNackAndBlocksNobody()
    {
        using var rig = new SpillRig(directory: new SimulatedDirectory { PrepareErrno = DiskError.ReadOnly });
        DeviceStream stream = rig.Open();
        rig.Buffer.SetOwner(stream, new StreamWitness(stream));
        rig.Add(stream, 1);
        rig.Buffer.Refuse(Assert.Single(rig.TakeAll()).Handle, "no");
        rig.Advance(250);
        rig.Advance(250);
        Assert.True(rig.Buffer.TryTakeDropped(stream, out DroppedFrame dropped, out _));
        Assert.Equal(new DroppedFrame(1, DropReason.Refused), dropped);
        Assert.Equal(0, rig.Buffer.Records);
    }

    private static List<(SpilledRecordView View, string Reason)> Quarantined(SpillRig rig)
    {
        List<(SpilledRecordView, string)> all = [];
        using JournalReader reader = rig.Disk.Quarantine!.Journal.CreateReader(1);
        while (true)
        {
            ReadResult result = reader.TryRead(out JournalRecord record);
            if (result == ReadResult.End)
                return all;
            if (result == ReadResult.Record && SpilledFrame.TryRead(record.Payload, out SpilledFrame frame))
            {
                all.Add((
                    new SpilledRecordView(System.Text.Encoding.UTF8.GetString(frame.DeviceId), frame.Sequence),
                    System.Text.Encoding.UTF8.GetString(frame.Reason)));
            }
        }
    }

    private sealed record SpilledRecordView(string Device, uint Sequence);
}
