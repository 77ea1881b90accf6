using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>A disk that is sick, full or read-only, and well again without anybody's help.</summary>
public sealed class DiskStateTests
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(50);

    [Theory]
    [InlineData(DiskOperation.Sync, DiskError.InputOutput)]
    [InlineData(DiskOperation.Write, DiskError.InputOutput)]
    [InlineData(DiskOperation.Write, DiskError.NoSpace)]
    [InlineData(DiskOperation.Write, DiskError.QuotaExceeded)]
    [InlineData(DiskOperation.Open, DiskError.ReadOnly)]
    [InlineData(DiskOperation.SyncDirectory, DiskError.InputOutput)]
    public void Step_DiskRefuses_NothingIsSafeThatIsNotAndItComesBackByItself(DiskOperation refused, int errno)
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 5);
        rig.SpillAll();
        Assert.Equal(5u, stream.SafeSequence);
        // The segment at hand is full of what is there: what comes now needs everything.
        rig.Disk.Find(2)!.Journal.Rotate();
        rig.Directory.Fault = operation => IsRefused(operation, refused, errno) ? errno : 0;
        rig.Add(stream, 6, 5);
        rig.Pass(TimeSpan.FromSeconds(3), Tick);
        Assert.NotEqual(DiskState.Healthy, rig.Status.State);
        Assert.Contains($"errno {errno}", rig.Status.Error, StringComparison.Ordinal);
        Assert.Equal(5u, stream.SafeSequence);
        Assert.Contains(rig.Log, l => l.Event is 1302 or 1303);
        rig.Pass(TimeSpan.FromSeconds(60), Tick);
        Assert.Equal(5u, stream.SafeSequence);
        Assert.InRange(rig.Log.Count, 1, 4);

        rig.Directory.Fault = null;
        rig.Pass(TimeSpan.FromSeconds(5), Tick);
        Assert.Equal(DiskState.Healthy, rig.Status.State);
        Assert.Empty(rig.Status.Error);
        Assert.Equal(10u, stream.SafeSequence);
        Assert.Contains(rig.Log, l => l.Event == 1301);
        rig.CutPowerAndStart();
        Assert.Equal(10, rig.TakeAll().Select(t => t.Sequence).Distinct().Count());
    }

    [Fact]
    public void Step_DiskSick_BrokerIsServedFromMemoryAndOldBacklogFromDisk()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1, 200);
        rig.SpillAll();
        rig.StopAndStart();
        rig.Directory.Refuse(DiskError.InputOutput, DiskOperation.Write, DiskOperation.Sync);
        rig.Add(rig.Open(), 201, 100);
        rig.Pass(TimeSpan.FromSeconds(5), Tick);
        Assert.Equal(SpillRig.Sequences(1, 300), rig.TakeAll(isConfirmed: true).Select(t => t.Sequence));
        Assert.Equal(0, rig.Buffer.Records);
        Assert.Equal(300u, rig.Open().SafeSequence);
    }

    [Fact]
    public void Step_DiskSickAndMemoryFull_BacklogIsDrainedThroughTheMemoryKeptForIt()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Add(stream, 1, 200);
        rig.SpillAll();
        rig.StopAndStart();
        stream = rig.Open();
        rig.Directory.Refuse(DiskError.InputOutput, DiskOperation.Write, DiskOperation.Sync);
        uint sequence = 200;
        while (rig.TryAdd(stream, sequence + 1) == AddResult.Added)
        {
            sequence++;
            rig.Advance(5);
        }

        Assert.True(rig.Buffer.IsFull);
        Assert.Equal(sequence, (uint)rig.TakeAll(isConfirmed: true).Count);
        Assert.False(rig.Buffer.IsFull);
    }

    [Fact]
    public void Step_FolderCannotBeMade_StateSaysSoAndItComesBackByItself()
    {
        using var rig = new SpillRig();
        DeviceStream stream = rig.Open();
        rig.Directory.FolderErrno = DiskError.ReadOnly;
        rig.Add(stream, 1, 5);
        rig.Pass(TimeSpan.FromSeconds(5), Tick);
        Assert.Equal(DiskState.Failed, rig.Status.State);
        Assert.Contains("errno 30", rig.Status.Error, StringComparison.Ordinal);
        Assert.Equal(0u, stream.SafeSequence);
        rig.Directory.FolderErrno = 0;
        rig.Pass(TimeSpan.FromSeconds(5), Tick);
        Assert.Equal(DiskState.Healthy, rig.Status.State);
        Assert.Equal(5u, stream.SafeSequence);
    }

    [Fact]
    public void Stop_FolderCannotBeMade_EndsAllTheSame()
    {
        using var rig = new SpillRig();
        rig.Directory.FolderErrno = DiskError.NoSpace;
        rig.Add(rig.Open(), 1, 5);
        rig.Pass(TimeSpan.FromSeconds(3), Tick);
        rig.Stop();
    }

    [Theory]
    [InlineData(DiskError.InputOutput)]
    [InlineData(DiskError.NoSpace)]
    public void Stop_DiskRefuses_EndsAllTheSame(int errno)
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1, 5);
        rig.Directory.Refuse(errno, DiskOperation.Write, DiskOperation.Sync);
        rig.Stop();
    }

    [Fact]
    public void Start_DirectoryCannotBeMade_MemoryAloneUntilItCan()
    {
        var directory = new SimulatedDirectory();
        using (var before = new SpillRig(directory: directory))
        {
            before.Add(before.Open(), 1, 50);
            before.SpillAll();
            before.Stop();
        }

        directory.PrepareErrno = DiskError.ReadOnly;
        using var rig = new SpillRig(directory: directory);
        Assert.False(rig.IsOpen);
        Assert.Equal(DiskState.Failed, rig.Status.State);
        DeviceStream stream = rig.Open("new");
        rig.Add(stream, 1, 10);
        rig.Pass(TimeSpan.FromSeconds(5), Tick);
        Assert.Equal(0u, stream.SafeSequence);
        Assert.Equal(10, rig.Buffer.Records);

        directory.PrepareErrno = 0;
        rig.Pass(TimeSpan.FromSeconds(5), Tick);
        Assert.Equal(DiskState.Healthy, rig.Status.State);
        Assert.Equal(10u, stream.SafeSequence);
        List<Taken> taken = rig.TakeAll(isConfirmed: true);
        Assert.Equal(60, taken.Count);
        // What was there before is older.
        Assert.All(taken.Take(50), t => Assert.Equal("pump-7", t.Device));
        Assert.Equal(0, rig.Buffer.Records);
    }

    [Fact]
    public void Start_LaneCannotBeListed_IsOpenedLater()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1, 50);
        rig.SpillAll();
        rig.Directory.Refuse(DiskError.InputOutput, DiskOperation.List);
        rig.KillAndStart();
        Assert.Equal(DiskState.Failed, rig.Status.State);
        rig.Pass(TimeSpan.FromSeconds(3), Tick);
        rig.Directory.Fault = null;
        rig.Pass(TimeSpan.FromSeconds(3), Tick);
        Assert.Equal(DiskState.Healthy, rig.Status.State);
        Assert.Equal(50, rig.TakeAll(isConfirmed: true).Count);
    }

    [Fact]
    public void Step_SlowSync_IsToldInTheLog()
    {
        using var rig = new SpillRig();
        rig.Add(rig.Open(), 1);
        rig.Directory.Fault = operation =>
        {
            if (operation == DiskOperation.Sync)
                rig.Time.Advance(TimeSpan.FromSeconds(3));
            return 0;
        };
        rig.SpillAll();
        Assert.Contains(rig.Log, l => l.Event == 1305);
        Assert.True(rig.Status.LastSyncMilliseconds >= 3000);
    }

    // A read-only file system refuses every change; the other faults are of one operation.
    private static bool IsRefused(DiskOperation operation, DiskOperation refused, int errno) =>
        operation == refused
        || (errno == DiskError.ReadOnly
            && operation is DiskOperation.Write or DiskOperation.SetLength or DiskOperation.Rename);
}
