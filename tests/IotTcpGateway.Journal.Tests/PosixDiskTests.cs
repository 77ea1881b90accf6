using Xunit;

namespace IotTcpGateway.Journal.Tests;

/// <summary>The same on real files.</summary>
public sealed class PosixDiskTests : IDisposable
{
    private readonly TemporaryDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public void Journal_OnRealFiles_AppendsRotatesTrimsAndReopens()
    {
        var disk = new PosixDisk(directory.Path);
        using (RecordJournal journal = Rig.Open(disk))
        {
            journal.AppendAll(200);
            for (long id = 1; id <= 150; id++)
                journal.Confirm(id);
            Assert.Equal(DiskError.None, journal.Trim());
            Assert.True(journal.Counters.SegmentsBegun > 1);
        }

        using RecordJournal again = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        Assert.True(report.IsClean, $"{report.WriteError} {report.ReadError}");
        Assert.Equal(Enumerable.Range(151, 50).Select(i => ((long)i, $"record {i}")), again.ReadAll(151));
        Assert.Equal(150, again.ConfirmedThrough);
        Assert.Equal(201, again.Append("x"));
        Assert.Equal(201, again.Commit().SyncedThrough);
    }

    [Fact]
    public void Journal_BitFlippedInARealFile_TellsTheGap()
    {
        var disk = new PosixDisk(directory.Path);
        using (RecordJournal journal = Rig.Open(disk))
            journal.AppendAll(20);
        string segment = Directory.GetFiles(directory.Path, "*.seg").Single();
        byte[] bytes = File.ReadAllBytes(segment);
        bytes[bytes.AsSpan().IndexOf("record 7"u8)] ^= 4;
        File.WriteAllBytes(segment, bytes);
        using RecordJournal again = Rig.Open(disk, Rig.SmallOptions(), out RecoveryReport report);
        Assert.Equal(new IdRange(7, 7), Assert.Single(report.Damage).Ids);
        Assert.Equal(19, again.ReadAll().Count);
    }

    [Fact]
    public void Sync_OfADescriptorThatCannotBeSynced_IsAnError()
    {
        // fdatasync of a pipe or terminal fails with EINVAL: that it is looked at shows without a broken disk.
        var disk = new PosixDisk("/dev");
        Assert.Equal(DiskError.None, disk.Open("null", FileOpening.ReadWrite, out ISegmentFile? file));
        using (file)
        {
            const int invalidArgument = 22;
            Assert.Equal(new DiskError(DiskOperation.Sync, invalidArgument), file!.Sync());
        }
    }

    [Fact]
    public void Write_ToADeviceThatIsFull_IsNoSpace()
    {
        var disk = new PosixDisk("/dev");
        Assert.Equal(DiskError.None, disk.Open("full", FileOpening.ReadWrite, out ISegmentFile? file));
        using (file)
            Assert.True(file!.Write(0, new byte[10]).IsNoSpace);
    }

    [Fact]
    public void Operations_ThatFail_SayWhich()
    {
        var disk = new PosixDisk(Path.Combine(directory.Path, "nowhere"));
        Assert.Equal(new DiskError(DiskOperation.List, DiskError.NoEntry), disk.List([]));
        Assert.Equal(new DiskError(DiskOperation.Open, DiskError.NoEntry), disk.Open("x", FileOpening.Create, out _));
        Assert.Equal(new DiskError(DiskOperation.Rename, DiskError.NoEntry), disk.Rename("x", "y"));
        Assert.Equal(new DiskError(DiskOperation.Unlink, DiskError.NoEntry), disk.Unlink("x"));
        Assert.Equal(new DiskError(DiskOperation.SyncDirectory, DiskError.NoEntry), disk.SyncDirectory());
        Assert.Equal(new DiskError(DiskOperation.FreeBytes, DiskError.NoEntry), disk.FreeBytes(out _));
        Assert.Equal("Unlink: No such file or directory (errno 2)", disk.Unlink("x").ToString());
    }

    [Fact]
    public void FreeBytes_OfARealDirectory_IsWhatTheSystemSays()
    {
        Assert.Equal(DiskError.None, new PosixDisk(directory.Path).FreeBytes(out long bytes));
        long expected = new DriveInfo(directory.Path).AvailableFreeSpace;
        Assert.InRange(bytes, expected / 2, (expected * 2) + 1);
    }

    [Fact]
    public void Open_ReadOnly_ChangesNothing()
    {
        using (RecordJournal journal = Rig.Open(new PosixDisk(directory.Path)))
        {
            journal.AppendAll(20);
            Dictionary<string, byte[]> before = Content();
            using RecordJournal looking = Rig.Open(
                new PosixDisk(directory.Path, isReadOnly: true), Rig.SmallOptions(), out RecoveryReport report);
            Assert.Equal(20, looking.ReadAll().Count);
            Assert.Equal(20, report.Records);
            Assert.Equal(before, Content());
        }

        Dictionary<string, byte[]> Content() =>
            Directory.GetFiles(directory.Path).ToDictionary(f => f, File.ReadAllBytes);
    }

    [Fact]
    public void List_DirectoriesAndLinks_AreNotNamed()
    {
        Directory.CreateDirectory(Path.Combine(directory.Path, "lost+found"));
        File.CreateSymbolicLink(Path.Combine(directory.Path, "link"), "/dev/null");
        var names = new List<string>();
        Assert.Equal(DiskError.None, new PosixDisk(directory.Path).List(names));
        Assert.Empty(names);
    }
}
