using IotTcpGateway.Buffer;
using IotTcpGateway.Journal.Tests;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>Frames on disk keep the channels that they arrived under, whatever goes before them.</summary>
public sealed class LaneTablesTests
{
    private static readonly ChannelTable Common = SpillRig.Table("common", 20), Rare = SpillRig.Table("rare", 300);

    [Fact]
    public void Trim_SegmentsWithTheTablesGo_WhatIsLeftHasItsNames()
    {
        using var rig = new SpillRig(o => o.Disk = 8 << 20);
        DeviceStream stream = rig.Open();
        for (uint sequence = 1; sequence <= 4000; sequence++)
        {
            rig.Add(stream, sequence, channels: TableOf(sequence));
            rig.Advance(2);
        }

        rig.SpillAll();
        long before = rig.Status.Bytes;
        Assert.Equal(3600, rig.TakeAll(isConfirmed: true, max: 3600).Count);
        rig.Pass(TimeSpan.FromSeconds(10), TimeSpan.FromMilliseconds(100));
        Assert.True(rig.Status.Bytes < before / 3, $"{rig.Status.Bytes} of {before} bytes are left");
        for (int start = 0; start < 2; start++)
        {
            rig.CutPowerAndStart();
            List<Taken> taken = rig.TakeAll(isConfirmed: true);
            Assert.InRange(taken.Count, 400, 1200);
            Assert.All(taken, t => Assert.Equal(NameOf(t.Sequence), t.Channel));
        }
    }

    // A commit that begins a segment has its tables in the one before.
    [Fact]
    public void Trim_TableOfACommitAcrossTwoSegments_IsWrittenAgainBeforeTheFirstOfThemGoes()
    {
        for (int delivered = 350; delivered <= 1100; delivered += 50)
        {
            using var rig = new SpillRig(o => o.Disk = 8 << 20);
            DeviceStream stream = rig.Open();
            rig.Add(stream, 1);
            rig.SpillAll();
            for (uint commit = 1; commit <= 9; commit++)
            {
                rig.Add(stream, commit * 150, 150, channels: SpillRig.Table($"t{commit}", 10));
                rig.SpillAll();
            }

            rig.TakeAll(isConfirmed: true, max: delivered);
            rig.Pass(TimeSpan.FromSeconds(10), TimeSpan.FromMilliseconds(100));
            rig.CutPowerAndStart();
            List<Taken> taken = rig.TakeAll(isConfirmed: true);
            Assert.InRange(taken.Count, 1351 - delivered, 1351);
            Assert.All(taken, t => Assert.Equal(t.Sequence == 1 ? "" : $"t{t.Sequence / 150}", t.Channel));
        }
    }

    [Fact]
    public void DropOldest_SegmentsWithTheTablesGo_WhatIsLeftHasItsNames()
    {
        using var rig = new SpillRig(o => o.WhenFull = WhenFull.DropOldest);
        DeviceStream stream = rig.Open();
        for (uint sequence = 1; sequence <= 4000; sequence++)
        {
            Assert.Equal(AddResult.Added, rig.TryAdd(stream, sequence, channels: TableOf(sequence)));
            rig.Advance(10);
        }

        rig.SpillAll();
        rig.CutPowerAndStart();
        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        Assert.InRange(taken.Count, 300, 1200);
        Assert.All(taken, t => Assert.Equal(NameOf(t.Sequence), t.Channel));
    }

    [Fact]
    public void Start_NewTablesBesideOldFrames_AreNotMixedUp()
    {
        using var rig = new SpillRig();
        for (uint start = 0; start < 5; start++)
        {
            rig.Add(rig.Open(), (start * 10) + 1, 5, channels: SpillRig.Table($"table-{start}"));
            rig.Add(rig.Open(), (start * 10) + 6, 5, channels: Common);
            rig.SpillAll();
            rig.KillAndStart();
        }

        List<Taken> taken = rig.TakeAll();
        Assert.Equal(50, taken.Count);
        Assert.All(taken, t => Assert.Equal(
            t.Sequence % 10 is >= 1 and <= 5 ? $"table-{t.Sequence / 10}" : "common", t.Channel));
    }

    [Fact]
    public void Start_TableDamagedOnDisk_FramesGoWithoutNamesAndItsNumberIsNotGivenAgain()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1, 5, channels: SpillRig.Table("temperature"));
        rig.SpillAll();
        SimulatedDisk disk = rig.Directory["lane-2"];
        string segment = disk.Names.Single(n => n.EndsWith(".seg", StringComparison.Ordinal));
        byte[] content = disk[segment];
        content[content.AsSpan().IndexOf("temperature"u8)] ^= 1;
        disk[segment] = content;
        rig.KillAndStart();
        Assert.Contains(rig.Log, l => l.Event == 1304);
        rig.Add(rig.Open(), 6, 5, channels: SpillRig.Table("pressure"));
        rig.SpillAll();
        rig.KillAndStart();
        List<Taken> taken = rig.TakeAll();
        Assert.Equal(10, taken.Count);
        Assert.All(taken, t => Assert.Equal(t.Sequence <= 5 ? "" : "pressure", t.Channel));
    }

    [Fact]
    public void Spill_ManyTables_AreBoundedInMemoryAndFramesStillGo()
    {
        using var rig = new SpillRig(o => o.Disk = 8 << 20);
        DeviceStream stream = rig.Open();
        // 300 channels take some 50 KB of the MiB that tables may have.
        for (uint sequence = 1; sequence <= 60; sequence++)
        {
            rig.Add(stream, sequence, channels: SpillRig.Table($"t{sequence}", 300));
            rig.Advance(50);
        }

        rig.SpillAll();
        rig.KillAndStart();
        List<Taken> taken = rig.TakeAll();
        Assert.Equal(60, taken.Count);
        Assert.All(taken, t => Assert.Contains(t.Channel, new[] { "", $"t{t.Sequence}" }));
        Assert.InRange(taken.Count(t => t.Channel.Length > 0), 10, 40);
    }

    private static ChannelTable TableOf(uint sequence) => sequence % 397 == 0 ? Rare : Common;

    private static string NameOf(uint sequence) => TableOf(sequence).Find(1)!.Name;
}
