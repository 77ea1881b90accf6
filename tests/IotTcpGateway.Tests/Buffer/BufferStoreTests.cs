using System.Diagnostics.Metrics;

using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;
using IotTcpGateway.TestKit;

using Microsoft.Extensions.Logging.Abstractions;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>The disk side as a whole, with its threads, in a real directory.</summary>
public sealed class BufferStoreTests : IDisposable
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("store-");
    private readonly Meter meter = new("store");

    private string Path => System.IO.Path.Combine(folder.FullName, "var", "lib", "buffer");

    public void Dispose()
    {
        meter.Dispose();
        folder.Delete(recursive: true);
    }

    [Fact]
    public void Prepare_NothingThere_MakesItWithThoseAboveForItsOwnerAlone()
    {
        using var directory = new PosixBufferDirectory(Path);
        Assert.Equal(DiskError.None, directory.Prepare());
        Assert.Equal(DiskError.None, directory.Prepare());
        const UnixFileMode ownerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        Assert.Equal(ownerOnly, File.GetUnixFileMode(Path));
        Assert.False(directory.Has("lane-1"));
        Assert.Equal(DiskError.None, directory.Open("lane-1", out IJournalDisk disk));
        Assert.True(directory.Has("lane-1"));
        Assert.Equal(DiskError.None, disk.Open("a", FileOpening.Create, out ISegmentFile? file));
        file!.Dispose();
        Assert.True(File.Exists(System.IO.Path.Combine(Path, "lane-1", "a")));
    }

    [Fact]
    public void Prepare_AnotherHasIt_IsRefusedUntilThatOneIsGone()
    {
        using var second = new PosixBufferDirectory(Path);
        using (var first = new PosixBufferDirectory(Path))
        {
            Assert.Equal(DiskError.None, first.Prepare());
            Assert.Equal(PosixBufferDirectory.InUse, second.Prepare().Errno);
        }

        Assert.Equal(DiskError.None, second.Prepare());
    }

    [Fact]
    public void Open_AnotherGatewayHasIt_SaysWhatToDo()
    {
        using var first = new PosixBufferDirectory(Path);
        first.Prepare();
        SaysAtOpen("another gateway uses it; give each a directory of its own", Path);
    }

    [Theory]
    [InlineData("file")]
    [InlineData("file/below")]
    public void Open_PathIsAFile_SaysWhatToDo(string name)
    {
        File.WriteAllText(System.IO.Path.Combine(folder.FullName, "file"), "");
        string path = System.IO.Path.Combine(folder.FullName, name);
        SaysAtOpen("it is not a directory", path);
    }

    [Fact]
    public void Open_NotPermitted_SaysWhatToDo()
    {
        // Root may write everywhere but where the kernel forbids it.
        string path = "/sys/iotgw-buffer";
        if (!Environment.IsPrivilegedProcess)
        {
            path = System.IO.Path.Combine(folder.FullName, "locked");
            Directory.CreateDirectory(path, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        }

        SaysAtOpen("permission denied; give it to the gateway's user", path);
    }

    [Fact]
    public async Task Store_OutageAndRestart_FramesAreSafeOnDiskAndComeBack()
    {
        using (var first = new Running(Path, meter))
        {
            DeviceStream stream = first.Buffer.Open("pump-7", 1);
            for (uint sequence = 1; sequence <= 500; sequence++)
                first.Buffer.TryAdd(stream, sequence, ChannelTable.Empty, Now, new byte[500]);
            await Patience.UntilAsync(
                () => stream.SafeSequence == 500, () => $"{stream.SafeSequence} are safe: {first.Store.Status}");
            Assert.Equal(500, first.Store.Status.Records);
            await first.Store.StopAsync(Patience.HangGuard);
        }

        using var second = new Running(Path, meter);
        Assert.Equal([new CustodyEntry("pump-7", 1, 2, 500)], second.Custody);
        for (uint expected = 1; expected <= 500; expected++)
        {
            uint taken = 0;
            await Patience.UntilAsync(() => (taken = Take(second.Buffer)) != 0, () => $"{expected} does not come back");
            Assert.Equal(expected, taken);
        }

        await second.Store.FlushAsync(Patience.HangGuard);
        await second.Store.StopAsync(Patience.HangGuard);
        Assert.Equal(0, second.Buffer.Records);
    }

    [Fact]
    public async Task FlushAsync_YoungFrames_AreSafeWhenItReturns()
    {
        using var running = new Running(Path, meter, TimeSpan.FromHours(1));
        DeviceStream stream = running.Buffer.Open("pump-7", 1);
        for (uint sequence = 1; sequence <= 100; sequence++)
            running.Buffer.TryAdd(stream, sequence, ChannelTable.Empty, Now, [1, 2, 3]);
        await running.Store.FlushAsync(Patience.HangGuard);
        Assert.Equal(100u, stream.SafeSequence);
        await running.Store.StopAsync(Patience.HangGuard);
        Assert.True(running.Store.Completion.IsCompletedSuccessfully);
    }

    private static Arrival Now =>
        new(1_763_900_000_000, (long)TimeProvider.System.GetElapsedTime(0).TotalMicroseconds, IsSynchronised: true);

    private static uint Take(RecordBuffer buffer)
    {
        if (!buffer.TryTake(out BufferedRecord record))
            return 0;
        uint sequence = record.Sequence;
        buffer.Confirm(record.Handle);
        return sequence;
    }

    private void SaysAtOpen(string what, string path) => Assert.Contains(
        what, Assert.Throws<IOException>(() => new Running(path, meter).Dispose()).Message, StringComparison.Ordinal);

    private sealed class Running : IDisposable
    {
        private readonly DropLedger ledger = new(TimeProvider.System, () => 0);

        public Running(string path, Meter meter, TimeSpan? spillAfter = null)
        {
            var options = new BufferOptions
            {
                Directory = path,
                Memory = 1 << 20,
                Disk = 4 << 20,
                SpillAfter = spillAfter ?? TimeSpan.FromMilliseconds(20),
            };
            Buffer = new RecordBuffer(options, TimeProvider.System, meter);
            var settings = new LaneSettings(
                1 << 20, options.MaxAge, new RunTime(TimeProvider.System), HostBoot.Id(), _ => null);
            Store = new BufferStore(
                Buffer, ledger, options, settings, bootsMax: 100, TimeProvider.System, meter, NullLogger.Instance);
            Custody = [.. Store.Open()];
            Store.Start();
        }

        public RecordBuffer Buffer { get; }

        public BufferStore Store { get; }

        public IReadOnlyList<CustodyEntry> Custody { get; }

        public void Dispose()
        {
            Store.Dispose();
            ledger.Dispose();
            Buffer.Dispose();
        }
    }
}
