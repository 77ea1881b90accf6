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
