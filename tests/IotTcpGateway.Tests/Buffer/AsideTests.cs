using IotTcpGateway.Buffer;
using IotTcpGateway.Forward;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>What a device has on disk while the broker refuses it: out of everybody's way, and in order afterwards.</summary>
public sealed class AsideTests : IDisposable
{
    private const int Frames = 400;

    private readonly SpillRig rig = new(o => (o.Memory, o.Disk) = (8L * RecordChunk.Bytes, 8 << 20));

    public void Dispose() => rig.Dispose();

    [Fact]
    public void Waiting_ABacklogLargerThanPageMemory_BlocksNobodyAndComesInOrder()
    {
        FillDisk();
        rig.Buffer.BeginWaiting("refused");
        Assert.Equal(AllOf("other"), Names(rig.TakeAll(isConfirmed: true)));
        Assert.Equal(Frames, rig.Buffer.FillOf(2).Records);
        Assert.Equal(Frames, rig.Buffer.FillOf(2).OnDisk);

        Assert.True(rig.Buffer.HasAside("refused"));
        Assert.True(rig.Buffer.EndWaiting("refused", []));
        Assert.Equal(AllOf("refused"), Names(rig.TakeAll(isConfirmed: true)));
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public void Waiting_NoReasonToPutOthersOnDisk()
    {
        FillDisk();
        rig.Buffer.BeginWaiting("refused");
        rig.TakeAll(isConfirmed: true);
        rig.Advance(1000);
        long written = rig.Status.WrittenBytes;
        DeviceStream live = rig.Open("live");
        for (uint sequence = 1; sequence <= 50; sequence++)
        {
            rig.Add(live, sequence);
            rig.TakeAll(isConfirmed: true);
            rig.Advance(500);
        }

        Assert.False(rig.Status.IsSpilling);
        // A mark of the time and a cursor now and then, and no frame.
        Assert.InRange(rig.Status.WrittenBytes - written, 0, 20 * SpillRig.Body);
        Assert.Equal(50u, live.SafeSequence);
    }

    [Fact]
    public void PutAside_OnDiskOrInMemoryAlone_OnlyWhatIsOnDiskLeaves()
    {
        DeviceStream stream = rig.Open("refused");
        rig.Add(stream, 1, 3);
        rig.SpillAll();
        rig.Add(stream, 4);
        List<Taken> taken = rig.TakeAll();
        rig.Buffer.BeginWaiting("refused");
        Assert.Equal([true, true, false], taken.Skip(1).Select(t => rig.Buffer.TryPutAside(t.Handle)));
        Assert.Equal((4, 2), (rig.Buffer.Records, rig.Buffer.FillOf(2).OnDisk));

        // The first is confirmed after all; then come those that were aside, and the youngest behind them.
        rig.Buffer.Confirm(taken[0].Handle);
        Assert.True(rig.Buffer.EndWaiting("refused", [taken[3].Handle]));
        Assert.Equal([2u, 3, 4], rig.TakeAll(isConfirmed: true).Select(t => t.Sequence));
        Assert.Equal((0, 4u), (rig.Buffer.Records, stream.SafeSequence));
    }

    [Fact]
    public void Rewind_WhileSomeAreAside_AllComeAgainInOrder()
    {
        FillDisk();
        rig.Buffer.BeginWaiting("refused");
        List<Taken> others = rig.TakeAll(isConfirmed: true);
        Assert.Equal(Frames, others.Count);
        rig.Buffer.EndWaiting("refused", []);
        rig.TakeAll(max: 10);
        rig.Buffer.BeginWaiting("refused");
        rig.TakeAll();
        rig.Buffer.Rewind();
        rig.Buffer.EndWaiting("refused", []);
        Assert.Equal(AllOf("refused"), Names(rig.TakeAll(isConfirmed: true)));
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public void Aside_KilledMeanwhile_IsThereAtTheNextStart()
    {
        FillDisk();
        rig.Buffer.BeginWaiting("refused");
        rig.TakeAll(isConfirmed: true);
        rig.KillAndStart();
        Assert.Equal(AllOf("refused"), Names(rig.TakeAll(isConfirmed: true)).Where(n => n.Device == "refused"));
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public void Aside_GrowsTooOld_IsGivenUpAndTold()
    {
        rig.Options.MaxAge = TimeSpan.FromHours(1);
        FillDisk();
        rig.Buffer.BeginWaiting("refused");
        rig.TakeAll(isConfirmed: true);
        rig.Pass(TimeSpan.FromHours(2), TimeSpan.FromMinutes(1));
        Assert.Equal(0, rig.Buffer.Records);
        List<GapReport> gaps = rig.Gaps();
        Assert.All(gaps, g => Assert.Equal(("refused", DropReason.Expired), (g.DeviceId, g.Reason)));
        Assert.Equal(Frames, gaps.Sum(g => g.Count));
    }

    [Fact]
    public void Lines_RefusedThenTaken_InOrderOverDiskAndMemory()
    {
        FillDisk();
        var lines = new DeviceLines(rig.Buffer, rig.Time);
        Queue<TakenRecord> freed = new();
        List<(string Device, uint Sequence)> published = [];
        long order = 0;
        DeviceStream stream = rig.Open("refused");
        bool isRefusing = true;
        void Forward()
        {
            while (rig.TakeAll(max: 1) is [var one])
            {
                var record = new TakenRecord(one.Handle, ++order);
                if (lines.TryJoin(one.Device, record))
                    continue;
                if (isRefusing && one.Device == "refused")
                {
                    lines.Refused(one.Device, record);
                    continue;
                }

                published.Add((one.Device, one.Sequence));
                rig.Buffer.Confirm(one.Handle);
            }
        }

        Forward();
        rig.Add(stream, Frames + 1, 5);
        Forward();
        Assert.Equal(AllOf("other"), published);
        Assert.InRange(rig.Buffer.MemoryBytes, 0, 3 * RecordChunk.Bytes);

        isRefusing = false;
        rig.Time.Advance(DeviceLines.RetryFirst);
        Assert.True(lines.TryTakeDue(out TakenRecord due));
        published.Clear();
        published.Add(("refused", rig.Buffer.Read(due.Handle).Sequence));
        lines.Settled("refused", due.Handle, isConfirmed: true, freed);
        rig.Buffer.Confirm(due.Handle);
        Assert.Empty(freed);
        Forward();
        Assert.Equal(Enumerable.Range(1, Frames + 5).Select(s => ("refused", (uint)s)), published);
        Assert.Equal((0, 0), (rig.Buffer.Records, lines.Devices));
    }

    private static IEnumerable<(string Device, uint Sequence)> AllOf(string device) =>
        Enumerable.Range(1, Frames).Select(s => (device, (uint)s));

    private static IEnumerable<(string Device, uint Sequence)> Names(IEnumerable<Taken> taken) =>
        taken.Select(t => (t.Device, t.Sequence));

    // Two devices in turn, all on disk alone.
    private void FillDisk()
    {
        DeviceStream refused = rig.Open("refused"), other = rig.Open("other");
        for (uint sequence = 1; sequence <= Frames; sequence++)
        {
            rig.Add(refused, sequence);
            rig.Add(other, sequence);
            if (sequence % 50 == 0)
                rig.SpillAll();
        }

        rig.KillAndStart();
    }
}
