using IotTcpGateway.Buffer;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>In which order a backlog and what arrives meanwhile are taken.</summary>
public sealed class DrainTests
{
    [Fact]
    public void LiveFirst_FreshRecordsGoBeforeTheBacklog_WhichIsMarked()
    {
        using SpillRig rig = WithBacklog(records: 300, out DeviceStream stream);
        rig.Buffer.BeginTaking();
        rig.Add(stream, 301, 10);
        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        Assert.Equal(310, taken.Count);
        Assert.All(taken, t => Assert.Equal(t.Sequence <= 300, t.IsBackfill));
        Assert.Equal(SpillRig.Sequences(301, 10), taken.Where(t => !t.IsBackfill).Select(t => t.Sequence));
        Assert.Equal(SpillRig.Sequences(1, 300), taken.Where(t => t.IsBackfill).Select(t => t.Sequence));
        // Half and half while there is both.
        Assert.Equal(10, taken.Take(20).Count(t => !t.IsBackfill));
    }

    [Theory]
    [InlineData(10)]
    [InlineData(25)]
    [InlineData(50)]
    [InlineData(90)]
    public void LiveFirst_BothWait_BacklogGetsItsShare(int share)
    {
        using SpillRig rig = WithBacklog(records: 200, out DeviceStream stream, o => o.DrainShare = share);
        rig.Buffer.BeginTaking();
        rig.Add(stream, 201, 200);
        // The backlog's pages are there from the start.
        rig.Pager.Step();
        List<Taken> taken = rig.TakeAll(isConfirmed: true, max: 100);
        Assert.InRange(taken.Count(t => t.IsBackfill), share - 1, share + 1);
    }

    [Fact]
    public void LiveFirst_BacklogAtItsEnd_OneOrderAgainAndNothingMarked()
    {
        using SpillRig rig = WithBacklog(records: 50, out DeviceStream stream);
        rig.Buffer.BeginTaking();
        rig.Add(stream, 51, 10);
        Assert.Equal(60, rig.TakeAll(isConfirmed: true).Count);
        rig.Add(stream, 61, 100);
        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        Assert.Equal(SpillRig.Sequences(61, 100), taken.Select(t => t.Sequence));
        Assert.All(taken, t => Assert.False(t.IsBackfill));
        Assert.Equal(0, rig.Buffer.Records);
        Assert.Equal(160u, stream.SafeSequence);
    }

    [Fact]
    public void LiveFirst_WithoutABacklog_NothingIsMarked()
    {
        using var rig = new SpillRig(o => o.Drain = DrainOrder.LiveFirst);
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 10);
        rig.Buffer.BeginTaking();
        rig.Add(stream, 11, 10);
        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        Assert.Equal(SpillRig.Sequences(1, 20), taken.Select(t => t.Sequence));
        Assert.All(taken, t => Assert.False(t.IsBackfill));
    }

    [Fact]
    public void LiveFirst_LinkLostInTheMiddle_EverythingUnsettledComesAgain()
    {
        using SpillRig rig = WithBacklog(records: 200, out DeviceStream stream);
        HashSet<uint> confirmed = [];
        uint sequence = 200;
        for (int link = 0; link < 10; link++)
        {
            rig.Buffer.Rewind();
            rig.Buffer.BeginTaking();
            rig.Add(stream, sequence + 1, 20);
            sequence += 20;
            foreach (Taken one in rig.TakeAll(max: 60).Where((_, i) => i % 2 == 0))
            {
                Assert.True(confirmed.Add(one.Sequence), $"{one.Sequence} comes after it was confirmed");
                rig.Buffer.Confirm(one.Handle);
            }

            rig.Advance(100);
        }

        rig.Buffer.Rewind();
        rig.Buffer.BeginTaking();
        foreach (Taken one in rig.TakeAll(isConfirmed: true))
            Assert.True(confirmed.Add(one.Sequence), $"{one.Sequence} comes after it was confirmed");
        Assert.Equal(sequence, (uint)confirmed.Count);
        Assert.Equal(0, rig.Buffer.Records);
        Assert.Equal(sequence, stream.SafeSequence);
    }

    [Fact]
    public void LiveFirst_LiveRecordsGoToDiskToo_AllArriveOnce()
    {
        using SpillRig rig = WithBacklog(records: 400, out DeviceStream stream, o => o.Disk = 8 << 20);
        rig.Buffer.BeginTaking();
        List<Taken> taken = [];
        uint sequence = 400;
        // More arrives than is taken: memory runs short, and what was live is evicted.
        for (int turn = 0; turn < 100; turn++)
        {
            rig.Add(stream, sequence + 1, 20);
            sequence += 20;
            rig.Advance(50);
            taken.AddRange(rig.TakeAll(isConfirmed: true, max: 10));
        }

        Assert.True(rig.Buffer.FillOf(2).OnDisk > 0);
        taken.AddRange(rig.TakeAll(isConfirmed: true));
        Assert.Equal(SpillRig.Sequences(1, (int)sequence), taken.Select(t => t.Sequence).Order());
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TryTake_BacklogNotAllowed_OnlyWhatIsNotOnDiskIsTaken(bool isLiveFirst)
    {
        DrainOrder drain = isLiveFirst ? DrainOrder.LiveFirst : DrainOrder.InOrder;
        using SpillRig rig = WithBacklog(records: 100, out DeviceStream stream, o => o.Drain = drain);
        rig.Buffer.BeginTaking();
        rig.Add(stream, 101, 10);
        rig.Pager.Step();
        List<Taken> live = rig.TakeAll(isConfirmed: true, isBacklogAllowed: false);
        Assert.Equal(isLiveFirst ? SpillRig.Sequences(101, 10) : [], live.Select(t => t.Sequence));
        Assert.Equal(SpillRig.Sequences(1, 5), rig.TakeAll(isConfirmed: true, max: 5).Select(t => t.Sequence));
        Assert.Empty(rig.TakeAll(isBacklogAllowed: false));
        List<Taken> rest = rig.TakeAll(isConfirmed: true);
        Assert.Equal(isLiveFirst ? 95 : 105, rest.Count);
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public void BeginWaiting_DeviceRefused_WhatItHasOnDiskIsPassedOverAndComesLater()
    {
        using var rig = new SpillRig();
        DeviceStream blocked = rig.Open("blocked"), other = rig.Open("other");
        for (uint sequence = 1; sequence <= 100; sequence++)
        {
            rig.Add(blocked, sequence);
            rig.Add(other, sequence);
        }

        rig.SpillAll();
        rig.KillAndStart();
        rig.Buffer.BeginWaiting("blocked");
        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        Assert.Equal(SpillRig.Sequences(1, 100), taken.Select(t => t.Sequence));
        Assert.All(taken, t => Assert.Equal("other", t.Device));
        Assert.Equal(new LaneFill(100, 100, 100), rig.Buffer.FillOf(2));
        rig.Buffer.Rewind();
        rig.Buffer.BeginWaiting("blocked");
        Assert.Empty(rig.TakeAll());
        Assert.True(rig.Buffer.EndWaiting("blocked", []));
        Assert.Equal(SpillRig.Sequences(1, 100), rig.TakeAll(isConfirmed: true).Select(t => t.Sequence));
        Assert.Equal(0, rig.Buffer.Records);
    }

    // Frames on disk from before a start, live ones first.
    private static SpillRig WithBacklog(int records, out DeviceStream stream, Action<BufferOptions>? configure = null)
    {
        var rig = new SpillRig(o =>
        {
            o.Drain = DrainOrder.LiveFirst;
            configure?.Invoke(o);
        });
        rig.Add(rig.Open(), 1, records);
        rig.SpillAll();
        rig.StopAndStart();
        stream = rig.Open();
        Assert.Equal((uint)records, stream.SafeSequence);
        return rig;
    }
}
