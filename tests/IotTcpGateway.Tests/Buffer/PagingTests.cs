using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>What leaves memory and comes back as it was.</summary>
public sealed class PagingTests
{
    [Fact]
    public void Evict_FarMoreThanMemory_ComesBackInOrderWithEverything()
    {
        using var rig = new SpillRig(o => o.Disk = 8 << 20);
        DeviceStream pump = rig.Open("pump-7"), valve = rig.Open("valve-3", boot: 9);
        ChannelTable ofPump = SpillRig.Table("temperature"), ofValve = SpillRig.Table("opening", channels: 300);
        uint sent = 0;
        while (sent < 2000)
        {
            sent++;
            rig.Add(pump, sent, channels: ofPump);
            rig.Add(valve, sent, channels: ofValve);
            rig.Advance(1);
            Assert.True(rig.Buffer.MemoryBytes <= rig.Buffer.MemoryBytesMax);
            Assert.False(rig.Buffer.IsFull);
        }

        rig.SpillAll();
        rig.Advance(50);
        Assert.InRange(rig.Buffer.FillOf(2).OnDisk, 3000, 4000);
        Assert.Equal((sent, sent), (pump.SafeSequence, valve.SafeSequence));
        double firstAt = rig.Time.GetElapsedTime(0).TotalMicroseconds;
        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        Assert.Equal(4000, taken.Count);
        for (int i = 0; i < taken.Count; i++)
        {
            Taken one = taken[i];
            bool isPump = i % 2 == 0;
            uint sequence = ((uint)i / 2) + 1;
            Assert.Equal(
                (isPump ? "pump-7" : "valve-3", isPump ? 1u : 9u, sequence), (one.Device, one.Boot, one.Sequence));
            Assert.Equal(isPump ? "temperature" : "opening", one.Channel);
            Assert.Equal(1_763_900_000_000 + sequence, one.Arrival.UnixMilliseconds);
            Assert.True(one.Arrival.IsSynchronised && one.Arrival.MonotonicMicroseconds < firstAt);
            Assert.Equal(2, one.Priority);
            Assert.False(one.IsBackfill);
        }

        Assert.Equal(0, rig.Buffer.Records);
        Assert.Equal(new LaneFill(0, 0, 0), rig.Buffer.FillOf(2));
        Assert.Empty(rig.Gaps());
    }

    [Fact]
    public void PageIn_LargeTable_HasAllItsChannels()
    {
        using var rig = new SpillRig();
        ChannelTable table = SpillRig.Table("opening", channels: 300);
        rig.Add(rig.Open(), 1, 5, channels: table);
        rig.SpillAll();
        rig.KillAndStart();
        rig.Pager.Step();
        Assert.True(rig.Buffer.TryTake(out BufferedRecord record));
        Assert.Equal(table.Channels, record.Channels.Channels);
    }

    [Fact]
    public void PageIn_Lanes_KeepTheirPriorityAndGoMoreOftenTheMoreTheyMatter()
    {
        using var rig = new SpillRig(o => o.Memory = 8 << 20);
        for (int priority = 1; priority <= 3; priority++)
            rig.Add(rig.Open($"d{priority}", 1, priority), 1, 70);
        rig.SpillAll();
        Assert.Equal(["lane-1", "lane-2", "lane-3"], rig.Directory.Folders);
        rig.KillAndStart();
        rig.Pager.Step();
        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        Assert.Equal(210, taken.Count);
        Assert.All(taken, t => Assert.Equal($"d{t.Priority}", t.Device));
        for (int priority = 1; priority <= 3; priority++)
            Assert.Equal(SpillRig.Sequences(1, 70), taken.Where(t => t.Priority == priority).Select(t => t.Sequence));
        int[] ofFirst70 = [.. taken.Take(70).GroupBy(t => t.Priority).OrderBy(g => g.Key).Select(g => g.Count())];
        Assert.Equal([10, 20, 40], ofFirst70);
    }

    [Fact]
    public void Rewind_InTheMiddleOfAPage_EverythingUnsettledComesAgainInOrder()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 300);
        rig.SpillAll();
        rig.KillAndStart();
        List<Taken> first = rig.TakeAll(max: 100);
        Assert.Equal(SpillRig.Sequences(1, 100), first.Select(t => t.Sequence));
        foreach (Taken one in first.Where(t => t.Sequence % 10 == 0))
            rig.Buffer.Confirm(one.Handle);
        rig.Buffer.Rewind();
        List<Taken> second = rig.TakeAll(isConfirmed: true);
        Assert.Equal(SpillRig.Sequences(1, 300).Where(s => s > 100 || s % 10 != 0), second.Select(t => t.Sequence));
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public void Rewind_WhileAPageIsBeingRead_LosesNothing()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1, 300);
        rig.SpillAll();
        rig.KillAndStart();
        int rewinds = 0;
        bool isReading = false;
        rig.Directory.Fault = operation =>
        {
            if (operation == DiskOperation.Read && !isReading)
            {
                isReading = true;
                rig.Buffer.Rewind();
                while (rig.Buffer.TryTake(out _))
                    rewinds++;
                rig.Buffer.Rewind();
                isReading = false;
            }

            return 0;
        };
        List<Taken> taken = rig.TakeAll(max: 50);
        rig.Buffer.Rewind();
        taken = rig.TakeAll(isConfirmed: true);
        Assert.Equal(SpillRig.Sequences(1, 300), taken.Select(t => t.Sequence));
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public void Settled_SomeOfAPage_AreNotReadAgainAfterAStart()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1, 100);
        rig.SpillAll();
        rig.KillAndStart();
        foreach (Taken one in rig.TakeAll(max: 40))
            rig.Buffer.Confirm(one.Handle);
        rig.StopAndStart();
        Assert.Equal(60, rig.Buffer.Records);
        Assert.Equal(SpillRig.Sequences(41, 60), rig.TakeAll().Select(t => t.Sequence));
    }

    [Fact]
    public void Arrival_AnotherBootOfTheHost_TellsNothingFromTheMonotonicClock()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        var unsynchronised = new Arrival(0, 12_345, IsSynchronised: false);
        Assert.Equal(AddResult.Added, rig.Buffer.TryAdd(stream, 1, ChannelTable.Empty, unsynchronised, [1]));
        rig.SpillAll();
        rig.KillAndStart();
        Assert.Equal(unsynchronised, Assert.Single(rig.TakeAll()).Arrival);
        rig.CutPowerAndStart();
        Assert.Equal(Arrival.OfAnotherBoot, Assert.Single(rig.TakeAll()).Arrival.MonotonicMicroseconds);
        // It has been read and put back as what it is: what another boot's clock said is not taken for this one's.
        rig.HostBoot = 1;
        rig.StopAndStart();
        Assert.Equal(12_345, Assert.Single(rig.TakeAll()).Arrival.MonotonicMicroseconds);
    }

    [Fact]
    public void Step_UnreadablePlace_IsTriedAgainAndThenCountedAsLost()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1, 60);
        rig.SpillAll();
        rig.KillAndStart();
        string segment = rig.Directory["lane-2"].Names.Single(n => n.EndsWith(".seg", StringComparison.Ordinal));
        rig.Directory["lane-2"].Unreadable = (segment, 20_000, 22_000);
        for (int attempt = 1; attempt < Pager.ReadAttempts; attempt++)
        {
            Assert.NotEqual(Timeout.InfiniteTimeSpan, rig.Pager.Step());
            Assert.Equal(0, rig.Status.Lost);
            // Somebody wants the page again and again: that is not another attempt.
            Assert.NotEqual(Timeout.InfiniteTimeSpan, rig.Pager.Step());
            rig.Time.Advance(Pager.RetryAfter);
        }

        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        rig.Advance(1000);
        Assert.InRange(taken.Count, 1, 59);
        Assert.Equal(60, taken.Count + rig.Status.Lost);
        Assert.Equal(rig.Status.Lost, rig.Buffer.DroppedRecords);
        Assert.Equal(0, rig.Buffer.Records);
        Assert.Contains(rig.Log, l => l.Event == 1307);
    }

    [Fact]
    public void Step_CardIsBackBeforeItIsGivenUp_LosesNothing()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1, 60);
        rig.SpillAll();
        rig.KillAndStart();
        rig.Directory.Fault = operation => operation == DiskOperation.Read ? DiskError.InputOutput : 0;
        for (int attempt = 1; attempt < Pager.ReadAttempts; attempt++)
        {
            Assert.NotEqual(Timeout.InfiniteTimeSpan, rig.Pager.Step());
            rig.Time.Advance(Pager.RetryAfter);
        }

        rig.Directory.Fault = null;
        Assert.Equal(SpillRig.Sequences(1, 60), rig.TakeAll(isConfirmed: true).Select(t => t.Sequence));
        Assert.Equal(0, rig.Status.Lost);
    }
}
