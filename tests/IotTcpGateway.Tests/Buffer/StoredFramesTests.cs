using IotTcpGateway.Buffer;
using IotTcpGateway.Cli;
using IotTcpGateway.Journal;
using IotTcpGateway.Protocol;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

public sealed class StoredFramesTests : IDisposable
{
    private readonly StoredBuffer buffer = new();

    public void Dispose() => buffer.Dispose();

    [Fact]
    public void Read_SettledFrames_AreShownOnlyWhenAskedFor()
    {
        buffer.Fill("lane-2", frames: 5, settled: 2);
        Assert.Equal([3u, 4u, 5u], Read("lane-2", readsSettled: false).Select(f => f.Sequence));
        Assert.Equal(
            [(1u, true), (2u, true), (3u, false), (4u, false), (5u, false)],
            Read("lane-2", readsSettled: true).Select(f => (f.Sequence, f.IsSettled)));
    }

    [Fact]
    public void Read_TableBehindItsFrames_IsFound()
    {
        using (RecordJournal journal = buffer.Open("lane-1"))
        {
            buffer.Frame(journal, "pump-7", 1, table: 9);
            buffer.Frame(journal, "pump-7", 2, table: 8);
            buffer.Frame(journal, "pump-7", 3, table: 0);
            buffer.Table(journal, 9, new Channel(1, DataType.F32, "late", ""));
        }

        Assert.Equal(["late", "", ""], Read("lane-1", readsSettled: false).Select(f => f.Name));
    }

    [Fact]
    public void Read_TableOfSeveralEntriesAndRepeated_IsWhole()
    {
        Channel[] channels = [.. Enumerable.Range(1, 256).Select(n => new Channel((ushort)n, DataType.U8, new string('n', 200) + n, ""))];
        using (RecordJournal journal = buffer.Open("lane-1"))
        {
            buffer.Table(journal, 1, channels);
            buffer.Frame(journal, "pump-7", 1);
            buffer.Table(journal, 1, channels);
        }

        int found = 0;
        StoredFrames.Read(buffer.Journal("lane-1"), false, false, Count, out _);
        Assert.Equal(256, found);

        bool Count(in StoredFrame frame)
        {
            found = frame.Channels.Channels.Count;
            return true;
        }
    }

    [Fact]
    public void Read_VisitorHasEnough_Ends()
    {
        buffer.Fill("lane-1", frames: 5);
        int shown = 0;
        StoredFrames.Read(buffer.Journal("lane-1"), false, false, (in StoredFrame _) => ++shown < 2, out _);
        Assert.Equal(2, shown);
    }

    [Fact]
    public void Tables_OverTheirCap_AreLeftOutAndCounted()
    {
        var tables = new SpilledTables(bytesMax: 1000);
        buffer.Fill("lane-1", frames: 0);
        using (RecordJournal journal = buffer.Open("lane-1"))
        {
            for (uint number = 2; number <= 20; number++)
                buffer.Table(journal, number, new Channel(1, DataType.U8, "level", ""));
        }

        JournalView.Open(buffer.PathOf("lane-1"), false, () => tables.Visit, out JournalView? view);
        view!.Dispose();
        Assert.Equal("temperature", tables.Find(1).Find(1)!.Name);
        Assert.InRange(tables.LeftOut, 10, 19);
        Assert.Empty(tables.Find(20).Channels);
    }

    [Fact]
    public void Read_DirectoryOfALiveGateway_IsNotChanged()
    {
        buffer.Fill("lane-1", frames: 3);
        using RecordJournal live = buffer.Open("lane-1");
        buffer.Frame(live, "pump-7", 4);
        live.TryAppend("not committed"u8, out _);
        File.WriteAllText(buffer.PathOf("lane-1/alien"), "not ours");
        File.WriteAllText(buffer.PathOf("lane-1/cursor.tmp"), "being made");
        Append(Newest(), [1, 2, 3]);
        string before = buffer.Print();

        Assert.Equal(4, Read("lane-1", readsSettled: true).Count);
        Assert.Equal(before, buffer.Print());
    }

    [Fact]
    public void Read_DeadAndDamagedDirectory_IsNotChanged()
    {
        buffer.Fill("lane-1", frames: 100);
        Append(Newest(), [1, 2, 3]);
        File.WriteAllBytes(Directory.GetFiles(buffer.PathOf("lane-1"), "*.seg").Order().First(), []);
        File.Delete(buffer.PathOf("lane-1/cursor"));
        File.Delete(buffer.PathOf("lane-1/reserve"));
        string before = buffer.Print();
        Read("lane-1", readsSettled: true);
        Assert.Equal(before, buffer.Print());
    }

    [Fact]
    public void Read_JournalGrowsMeanwhile_ShowsWhatWasThere()
    {
        buffer.Fill("lane-1", frames: 3);
        using RecordJournal live = buffer.Open("lane-1");
        JournalView.Open(buffer.PathOf("lane-1"), true, () => Ignore, out JournalView? view);
        for (uint sequence = 4; sequence < 300; sequence++)
            buffer.Frame(live, "pump-7", sequence);
        int shown = 0;
        Assert.True(view!.Read(false, (in JournalRecord record, bool _) => ++shown > 0).IsNone);
        view.Dispose();
        Assert.Equal(4, shown); // with the table
        Assert.Equal(299, Read("lane-1", readsSettled: false).Count);
    }

    [Fact]
    public void Open_SegmentVanishesWhileItIsRead_IsReadAgain()
    {
        buffer.Fill("lane-1", frames: 1000);
        using RecordJournal live = buffer.Open("lane-1");
        int looks = 0, entries = 0;
        DiskError error = JournalView.Open(
            buffer.PathOf("lane-1"),
            true,
            () =>
            {
                looks++;
                entries = 0;
                return Visit;
            },
            out JournalView? view);

        using (view)
        {
            Assert.True(error.IsNone);
            Assert.Equal(2, looks);
            Assert.Equal(0, view!.Report.MissingRecords);
            Assert.Equal(0, view.Report.UnreadableSegments);
            Assert.Equal(view.Report.Records, entries);
            Assert.InRange(entries, 1, 500);
        }

        void Visit(in JournalRecord record)
        {
            // In the middle of the first look the gateway is told that nearly everything was delivered.
            if (looks == 1 && ++entries == 1)
            {
                live.Confirm(new IdRange(1, 900));
                live.Trim();
                entries = 1;
                return;
            }

            entries += looks == 1 ? 0 : 1;
        }
    }

    [Fact]
    public void Read_SegmentVanishesAfterwards_GoesOnBehindIt()
    {
        buffer.Fill("lane-1", frames: 1000);
        using RecordJournal live = buffer.Open("lane-1");
        JournalView.Open(buffer.PathOf("lane-1"), true, () => Ignore, out JournalView? view);
        live.Confirm(new IdRange(1, 900));
        live.Trim();
        long last = 0;
        using (view)
            Assert.True(view!.Read(false, (in JournalRecord record, bool _) => (last = record.Id) > 0).IsNone);
        Assert.Equal(1001, last);
    }

    [Fact]
    public async Task Open_GatewayWritesAndTrimsMeanwhile_IsNotCalledDamaged()
    {
        using RecordJournal live = buffer.Open("lane-1", segmentBytes: 128 * 1024);
        buffer.Table(live, 1, new Channel(1, DataType.F32, "temperature", "Cel"));
        using var stopping = new CancellationTokenSource();
        Task writing = Task.Factory.StartNew(Write, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        var told = new List<string>();
        for (int look = 0; look < 60; look++)
        {
            var figures = new JournalFigures();
            JournalView.Open(
                buffer.PathOf("lane-1"), true, () => (figures = new JournalFigures()).Visit, out JournalView? view);
            using (view)
                told.AddRange(BufferFindings.Of(view!.Report, figures.Unknown, 0, isLive: true));
        }

        await stopping.CancelAsync();
        await writing;
        Assert.Empty(told);

        void Write()
        {
            for (uint sequence = 1; !stopping.IsCancellationRequested; sequence++)
            {
                buffer.Frame(live, "pump-7", sequence);
                if (sequence % 50 != 0)
                    continue;
                live.Confirm(new IdRange(1, sequence - 500));
                live.CommitCursor();
                live.Trim();
            }
        }
    }

    [Fact]
    public void Read_ManyFrames_TakesNoMemoryForEach()
    {
        using (RecordJournal journal = buffer.Open("lane-1", segmentBytes: 4 << 20))
        {
            buffer.Table(journal, 1, new Channel(1, DataType.F32, "temperature", "Cel"));
            buffer.Frames(journal, "pump-7", 100_000);
        }

        BufferJournal lane = buffer.Journal("lane-1");
        long frames = 0;
        long before = GC.GetAllocatedBytesForCurrentThread();
        StoredFrames.Read(lane, false, false, Count, out _);
        Assert.Equal(100_000, frames);
        // Windows of 256 KiB, the last commit, the list of segments.
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 2 << 20);

        bool Count(in StoredFrame frame)
        {
            frames++;
            return true;
        }
    }

    private static void Ignore(in JournalRecord record)
    {
    }

    private string Newest() => Directory.GetFiles(buffer.PathOf("lane-1"), "*.seg").Order().Last();

    private static void Append(string path, byte[] bytes)
    {
        using FileStream file = File.Open(path, FileMode.Append);
        file.Write(bytes);
    }

    private List<(uint Sequence, bool IsSettled, string Name)> Read(string name, bool readsSettled)
    {
        List<(uint, bool, string)> frames = [];
        Assert.True(StoredFrames.Read(buffer.Journal(name), false, readsSettled, Add, out _).IsNone);
        return frames;

        bool Add(in StoredFrame stored)
        {
            frames.Add((stored.Frame.Sequence, stored.IsSettled, stored.Channels.Find(1)?.Name ?? ""));
            return true;
        }
    }
}
