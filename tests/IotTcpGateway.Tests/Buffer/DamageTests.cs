using IotTcpGateway.Buffer;
using IotTcpGateway.Journal.Tests;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>A turned bit in what is on disk: one frame, told whose.</summary>
public sealed class DamageTests : IDisposable
{
    private readonly SpillRig rig = new();

    public void Dispose() => rig.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void BitTurned_ThatFrameIsLostAndToldToTheConsumersOfItsDevice(bool isAfterRestart)
    {
        DeviceStream one = rig.Open("one"), other = rig.Open("other");
        for (uint sequence = 1; sequence <= 200; sequence++)
        {
            rig.Add(one, sequence);
            rig.Add(other, sequence);
            if (sequence % 50 == 0)
                rig.SpillAll();
        }

        // Evicted or left behind, it is read from disk.
        if (isAfterRestart)
            rig.KillAndStart();
        TurnABitOf((byte)100);
        if (isAfterRestart)
            rig.KillAndStart();
        else
            rig.CutPowerAndStart();

        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        rig.Time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(399, taken.Count);
        GapReport gap = Assert.Single(rig.Gaps());
        Assert.Equal((100u, 100u, 1, DropReason.Damaged), (gap.From, gap.To, gap.Count, gap.Reason));
        string lost = Assert.Single(taken.GroupBy(t => t.Device), g => g.Count() == 199).Key;
        Assert.Equal(lost, gap.DeviceId);
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void NothingReadableBehindTheHole_IsToldByWhatFollowsInMemoryOrWasTaken(bool hasMoreInMemory)
    {
        DeviceStream one = rig.Open("one");
        rig.Add(one, 1, 60);
        rig.SpillAll();
        rig.KillAndStart();
        one = rig.Open("one");
        Assert.Equal(60u, one.HighestTaken);
        if (hasMoreInMemory)
            rig.Add(one, 61, 5);
        string segment = rig.Directory["lane-2"].Names.Single(n => n.EndsWith(".seg", StringComparison.Ordinal));
        rig.Directory["lane-2"].Unreadable = (segment, 20_000, 1_000_000);

        List<Taken> taken = [];
        for (int attempt = 0; attempt <= Pager.ReadAttemptsAtEnd; attempt++)
        {
            rig.Pager.Step();
            rig.Time.Advance(Pager.RetryAfter);
        }

        taken.AddRange(rig.TakeAll(isConfirmed: true));
        rig.Advance(1000);
        GapReport gap = Assert.Single(rig.Gaps());
        Assert.Equal(rig.Status.Lost, gap.Count);
        Assert.Equal((60u, DropReason.Damaged), (gap.To, gap.Reason));
        Assert.Equal(hasMoreInMemory ? 65 : 60, taken.Count + gap.Count);
        Assert.Equal(SpillRig.Sequences(1, (int)gap.From - 1), taken.Take((int)gap.From - 1).Select(t => t.Sequence));
        Assert.Equal(0, rig.Buffer.Records);
    }

    // The body of a frame is filled with its sequence.
    private void TurnABitOf(byte fill)
    {
        SimulatedDisk lane = rig.Directory["lane-2"];
        byte[] wanted = [.. Enumerable.Repeat(fill, 500)];
        foreach (string name in lane.Names.ToArray())
        {
            byte[] bytes = lane[name];
            int at = bytes.AsSpan().IndexOf(wanted);
            if (at < 0)
                continue;
            bytes[at + 10] ^= 1;
            lane[name] = bytes;
            return;
        }

        Assert.Fail("the frame is not on disk");
    }
}
