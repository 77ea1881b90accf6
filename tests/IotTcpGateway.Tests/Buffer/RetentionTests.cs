using IotTcpGateway.Buffer;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>What goes from the disk undelivered: the oldest of what matters least, and what is too old.</summary>
public sealed class RetentionTests
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    [Fact]
    public void DropOldest_DiskFull_LowestPriorityGoesFirstAndEveryFrameIsTold()
    {
        using var rig = new SpillRig(o => o.WhenFull = WhenFull.DropOldest);
        DeviceStream low = rig.Open("low", 1, 1), high = rig.Open("high", 1, 3);
        uint sent = 0;
        while (sent < 1500)
        {
            sent++;
            Assert.Equal(AddResult.Added, rig.TryAdd(low, sent, 600));
            if (sent % 10 == 0)
                rig.Add(high, sent / 10, 1, 600);
            rig.Advance(10);
        }

        rig.SpillAll();
        Assert.True(rig.Status.Bytes <= rig.Options.Disk);
        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        List<GapReport> gaps = rig.Gaps();
        Assert.Equal(150, taken.Count(t => t.Device == "high"));
        Assert.All(gaps, g => Assert.Equal(("low", DropReason.BufferFull), (g.DeviceId, g.Reason)));
        HashSet<uint> arrived = [.. taken.Where(t => t.Device == "low").Select(t => t.Sequence)];
        HashSet<uint> told = [.. gaps.SelectMany(g => SpillRig.Sequences(g.From, (int)(g.To - g.From + 1)))];
        Assert.Equal(1500 - arrived.Count, gaps.Sum(g => g.Count));
        Assert.Equal(1500 - arrived.Count, told.Count);
        Assert.False(told.Overlaps(arrived));
        Assert.InRange(told.Count, 300, 1300);
        // The oldest, in one row.
        Assert.Equal((1u, (uint)told.Count), (told.Min(), told.Max()));
        Assert.Equal(told.Count, rig.Buffer.DroppedRecords);
        Assert.Equal(0, rig.Buffer.Records);
        Assert.Equal((1500u, 150u), (low.SafeSequence, high.SafeSequence));
    }

    [Fact]
    public void DropOldest_LowerPriorityIsGone_TheHigherOnesOwnOldestGo()
    {
        using var rig = new SpillRig(o => o.WhenFull = WhenFull.DropOldest);
        DeviceStream low = rig.Open("low", 1, 1), high = rig.Open("high", 1, 3);
        rig.Add(low, 1, 200);
        rig.SpillAll();
        for (uint sequence = 1; sequence <= 2000; sequence++)
        {
            Assert.Equal(AddResult.Added, rig.TryAdd(high, sequence));
            rig.Advance(10);
        }

        rig.SpillAll();
        List<GapReport> gaps = rig.Gaps();
        Assert.Equal(200, gaps.Where(g => g.DeviceId == "low").Sum(g => g.Count));
        long lost = gaps.Where(g => g.DeviceId == "high").Sum(g => g.Count);
        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        Assert.Equal(2000 - lost, taken.Count);
        Assert.Equal((uint)lost + 1, taken[0].Sequence);
        Assert.InRange(lost, 1000, 1900);
    }

    [Fact]
    public void DropOldest_OldestInFlight_AreSparedUntilTheirFateIsKnown()
    {
        using var rig = new SpillRig(o => o.WhenFull = WhenFull.DropOldest);
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 100);
        rig.SpillAll();
        List<Taken> inFlight = rig.TakeAll(max: 20);
        for (uint sequence = 101; sequence <= 1500; sequence++)
        {
            rig.TryAdd(stream, sequence);
            rig.Advance(10);
        }

        // What was in flight is there still, and can be confirmed.
        foreach (Taken one in inFlight)
        {
            Assert.Equal(one.Sequence, rig.Buffer.Read(one.Handle).Sequence);
            rig.Buffer.Confirm(one.Handle);
        }

        rig.Pass(TimeSpan.FromSeconds(5), TimeSpan.FromMilliseconds(50));
        List<GapReport> gaps = rig.Gaps();
        Assert.NotEmpty(gaps);
        Assert.All(gaps, g => Assert.True(g.From > 20));
        Assert.Equal(rig.Buffer.DroppedRecords, gaps.Sum(g => g.Count));
        long taken = rig.TakeAll(isConfirmed: true).Count;
        Assert.Equal(stream.HighestTaken, 20 + taken + gaps.Sum(g => g.Count));
    }

    [Fact]
    public void DropOldest_SomeWereSetAsideForADeviceThatWaits_EveryFrameArrivesOrIsTold()
    {
        using var rig = new SpillRig(o => o.WhenFull = WhenFull.DropOldest);
        DeviceStream blocked = rig.Open("blocked"), other = rig.Open("other");
        rig.Buffer.BeginWaiting("blocked");
        List<Taken> taken = [];
        for (uint sequence = 1; sequence <= 1500; sequence++)
        {
            Assert.Equal(AddResult.Added, rig.TryAdd(blocked, sequence));
            Assert.Equal(AddResult.Added, rig.TryAdd(other, sequence));
            rig.Advance(10);
            // The broker takes less than comes, and of the one nothing that is on disk.
            foreach (Taken one in rig.TakeAll(max: sequence % 3 == 0 ? 1 : 0))
            {
                if (one.Device != "blocked" || !rig.Buffer.TryPutAside(one.Handle))
                {
                    taken.Add(one);
                    rig.Buffer.Confirm(one.Handle);
                }
            }
        }

        rig.Buffer.EndWaiting("blocked", []);
        rig.SpillAll();
        taken.AddRange(rig.TakeAll(isConfirmed: true));
        List<GapReport> gaps = rig.Gaps();
        Assert.NotEmpty(gaps);
        Assert.Equal(0, rig.Buffer.Records);
        Assert.Equal(3000, taken.Count + gaps.Sum(g => g.Count));
        Assert.Equal(taken.Count, taken.Select(t => (t.Device, t.Sequence)).Distinct().Count());
    }

    [Fact]
    public void DropOldest_KilledAfterwards_TheGapsAreStillTold()
    {
        using var rig = new SpillRig(o => o.WhenFull = WhenFull.DropOldest);
        DeviceStream stream = rig.Open();
        for (uint sequence = 1; sequence <= 2000; sequence++)
        {
            Assert.Equal(AddResult.Added, rig.TryAdd(stream, sequence));
            rig.Advance(10);
        }

        rig.SpillAll();
        rig.CutPowerAndStart();
        List<GapReport> gaps = rig.Gaps();
        HashSet<uint> told = [.. gaps.SelectMany(g => SpillRig.Sequences(g.From, (int)(g.To - g.From + 1)))];
        HashSet<uint> arrived = [.. rig.TakeAll(isConfirmed: true).Select(t => t.Sequence)];
        Assert.Equal(2000, arrived.Union(told).Count());
        Assert.NotEmpty(told);
    }

    [Fact]
    public void Refuse_DiskFull_NothingIsDroppedAndDevicesWait()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        uint sent = 0;
        while (rig.TryAdd(stream, sent + 1) == AddResult.Added)
        {
            sent++;
            rig.Advance(10);
            Assert.True(sent < 5000);
        }

        rig.Advance(100);
        Assert.Equal(DiskState.Full, rig.Status.State);
        Assert.NotEmpty(rig.Status.Error);
        Assert.True(rig.Buffer.IsFull);
        Assert.Equal(0, rig.Buffer.WindowFor(64, 1));
        Assert.True(rig.Status.Bytes <= rig.Options.Disk);
        Assert.Contains(rig.Log, l => l.Event == 1302);
        Assert.Equal(sent, (uint)rig.TakeAll(isConfirmed: true).Count);
        rig.Pass(TimeSpan.FromSeconds(10), TimeSpan.FromMilliseconds(250));
        Assert.Equal(DiskState.Healthy, rig.Status.State);
        Assert.False(rig.Buffer.IsFull);
        Assert.Equal(0, rig.Buffer.DroppedRecords);
        Assert.Equal(sent, stream.SafeSequence);
    }

    [Fact]
    public void MaxAge_OfRunTime_OverRestartsAndJumpsOfTheWallClock()
    {
        using var rig = new SpillRig(o => o.MaxAge = TimeSpan.FromHours(1));
        rig.Add(rig.Open("old"), 1, 10);
        rig.Pass(TimeSpan.FromMinutes(20), Minute / 2);
        // Years without the gateway running, or a clock that was wrong: no time in which it ran.
        rig.Stop();
        rig.Time.Advance(TimeSpan.FromDays(3650));
        rig.Start();
        rig.Add(rig.Open("young"), 1, 10);
        rig.Pass(TimeSpan.FromMinutes(35), Minute / 2);
        Assert.Empty(rig.Gaps());
        Assert.Equal(20, rig.Buffer.Records);
        rig.KillAndStart();
        rig.Add(rig.Open("youngest"), 1, 10);
        rig.Pass(TimeSpan.FromMinutes(10), Minute / 2);
        GapReport gap = Assert.Single(rig.Gaps());
        Assert.Equal(("old", DropReason.Expired, 10L), (gap.DeviceId, gap.Reason, gap.Count));
        Assert.Equal(20, rig.Buffer.Records);
        rig.Pass(TimeSpan.FromMinutes(25), Minute / 2);
        Assert.Equal("young", Assert.Single(rig.Gaps()).DeviceId);
        Assert.All(rig.TakeAll(), t => Assert.Equal("youngest", t.Device));
    }

    [Fact]
    public void MaxAge_LastFramesOfADeviceThatFellSilent_GrowOldToo()
    {
        using var rig = new SpillRig(o => o.MaxAge = TimeSpan.FromHours(1));
        rig.Add(rig.Open(), 1, 10);
        rig.Pass(TimeSpan.FromMinutes(70), Minute / 2);
        Assert.Equal(10, rig.Gaps().Sum(g => g.Count));
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public void MaxAge_BrokerTakesThemInTime_NothingIsDropped()
    {
        using var rig = new SpillRig(o => o.MaxAge = TimeSpan.FromHours(1));
        DeviceStream stream = rig.Open();
        uint sequence = 0;
        for (int minute = 0; minute < 180; minute++)
        {
            rig.Add(stream, ++sequence);
            rig.Pass(Minute, Minute / 4);
            if (minute % 50 == 49)
                Assert.Equal(50, rig.TakeAll(isConfirmed: true).Count);
        }

        Assert.Empty(rig.Gaps());
        Assert.Equal(30, rig.Buffer.Records);
    }

    [Fact]
    public void MaxAge_NoDiskToBeHad_IsHeldInMemoryToo()
    {
        var directory = new SimulatedDirectory { PrepareErrno = 30 };
        using var rig = new SpillRig(o => o.MaxAge = TimeSpan.FromHours(1), directory);
        rig.Add(rig.Open(), 1, 10);
        rig.Pass(TimeSpan.FromMinutes(59), Minute / 4);
        Assert.Equal(10, rig.Buffer.Records);
        rig.Pass(TimeSpan.FromMinutes(2), Minute / 4);
        Assert.Equal(0, rig.Buffer.Records);
        GapReport gap = Assert.Single(rig.Gaps());
        Assert.Equal((1u, 10u, DropReason.Expired), (gap.From, gap.To, gap.Reason));
    }
}
