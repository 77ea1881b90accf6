using System.Diagnostics.Metrics;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>What a taken record was.</summary>
internal sealed record Taken(
    RecordHandle Handle,
    string Device,
    uint Boot,
    uint Sequence,
    int Priority,
    string Channel,
    Arrival Arrival,
    bool IsBackfill);

/// <summary>
/// The buffer with its disk side and no thread: the test says when spiller and pager step, and what the time is.
/// </summary>
internal sealed class SpillRig : IDisposable
{
    public const int Body = 1000;

    private readonly Meter meter = new("spill rig");
    private readonly List<LogLine> log = [];

    public SpillRig(Action<BufferOptions>? configure = null, SimulatedDirectory? directory = null)
    {
        Directory = directory ?? new SimulatedDirectory();
        Options = new BufferOptions
        {
            Memory = 16L * RecordChunk.Bytes,
            Disk = 1 << 20,
            Quarantine = 1 << 20,
            SpillAfter = TimeSpan.FromSeconds(2),
        };
        configure?.Invoke(Options);
        Start();
    }

    public FakeTimeProvider Time { get; } = new();

    public SimulatedDirectory Directory { get; }

    public BufferOptions Options { get; }

    /// <summary>Which boot of the host it is.</summary>
    public uint HostBoot { get; set; } = 1;

    public int BootsMax { get; set; } = 1000;

    public RecordBuffer Buffer { get; private set; } = null!;

    public DropLedger Ledger { get; private set; } = null!;

    public BufferDisk Disk { get; private set; } = null!;

    public Spiller Spiller { get; private set; } = null!;

    public Pager Pager { get; private set; } = null!;

    /// <summary>What the last start learned of what was safe.</summary>
    public IReadOnlyList<CustodyEntry> Custody { get; private set; } = [];

    public bool IsOpen { get; private set; }

    public IReadOnlyList<LogLine> Log => log;

    public DiskStatus Status => Spiller.Status;

    public void Start()
    {
        Ledger = new DropLedger(Time, () => 0);
        Buffer = new RecordBuffer(Options, Time, meter) { GivenUp = Ledger.Add };
        var settings = new LaneSettings(1 << 20, Options.MaxAge, new RunTime(Time), HostBoot, _ => null);
        Disk = new BufferDisk(Directory, Options, settings, Buffer);
        Spiller = new Spiller(Buffer, Disk, Ledger, Options, Time, meter, new ListLogger(log));
        Pager = new Pager(Buffer, Disk, Time, Spiller.Lost, Ledger);
        var custody = new CustodyMemory(BootsMax);
        IsOpen = Spiller.TryOpen(custody);
        Custody = [.. custody.Entries];
        foreach (CustodyEntry entry in Custody)
            Buffer.Restore(entry.DeviceId, entry.BootId, entry.Priority, entry.SafeSequence);
    }

    /// <summary>SIGKILL, and a new start.</summary>
    public void KillAndStart()
    {
        Directory.Kill();
        Buffer.Dispose();
        Start();
    }

    /// <summary>The power is cut, and a new start.</summary>
    public void CutPowerAndStart()
    {
        Directory.CutPower();
        Buffer.Dispose();
        HostBoot++;
        Start();
    }

    /// <summary>SIGTERM.</summary>
    /// <param name="beforeLastWords">What else ends meanwhile, such as sessions.</param>
    public void Stop(Action? beforeLastWords = null)
    {
        Spiller.BeginFlush();
        for (int turn = 0; !Spiller.IsFlushed; turn++)
        {
            Assert.True(turn < 1000, "the spiller never comes to an end");
            Advance(TimeSpan.FromMilliseconds(10));
        }

        beforeLastWords?.Invoke();
        Spiller.Finish();
        Close();
    }

    public void StopAndStart()
    {
        Stop();
        Start();
    }

    /// <summary>Time passes, and the spiller looks.</summary>
    public TimeSpan Advance(TimeSpan time)
    {
        Time.Advance(time);
        return Spiller.Step();
    }

    public TimeSpan Advance(int milliseconds) => Advance(TimeSpan.FromMilliseconds(milliseconds));

    /// <summary>Steps often enough for whatever is due within a time.</summary>
    public void Pass(TimeSpan time, TimeSpan step)
    {
        for (TimeSpan passed = TimeSpan.Zero; passed < time; passed += step)
            Advance(step);
    }

    /// <summary>Everything that is in memory becomes old enough, and goes to disk.</summary>
    public void SpillAll()
    {
        Advance(Options.SpillAfter);
        for (int turn = 0; Buffer.HasUnspilled(1) || Buffer.HasUnspilled(2) || Buffer.HasUnspilled(3); turn++)
        {
            Assert.True(turn < 1000, $"it does not go to disk: {Status}");
            Advance(50);
        }

        Advance(50);
    }

    public DeviceStream Open(string device = "pump-7", uint boot = 1, int priority = 2) =>
        Buffer.Open(device, boot, priority);

    /// <summary>Adds frames from a sequence on.</summary>
    public void Add(DeviceStream stream, uint from, int count = 1, int bytes = Body, ChannelTable? channels = null)
    {
        for (uint sequence = from; sequence < from + count; sequence++)
            Assert.Equal(AddResult.Added, TryAdd(stream, sequence, bytes, channels));
    }

    public AddResult TryAdd(DeviceStream stream, uint sequence, int bytes = Body, ChannelTable? channels = null)
    {
        byte[] body = new byte[bytes];
        body.AsSpan().Fill((byte)sequence);
        return Buffer.TryAdd(stream, sequence, channels ?? ChannelTable.Empty, ArrivalNow(sequence), body);
    }

    /// <summary>Takes what there is, reading pages as the forwarder comes to them; confirms it if told to.</summary>
    public List<Taken> TakeAll(bool isConfirmed = false, int max = int.MaxValue, bool isBacklogAllowed = true)
    {
        List<Taken> all = [];
        while (all.Count < max)
        {
            if (!Buffer.TryTake(out BufferedRecord record, isBacklogAllowed))
            {
                long before = PagedIn;
                bool isTakerWoken = false;
                void Woken() => isTakerWoken = true;
                Buffer.Added += Woken;
                Pager.Step();
                Buffer.Added -= Woken;
                if (PagedIn == before && !isTakerWoken)
                    return all;
                continue;
            }

            Assert.False(record.Body.ContainsAnyExcept((byte)record.Sequence), "the body is another one's");
            all.Add(ViewOf(record));
            if (isConfirmed)
                Buffer.Confirm(record.Handle);
        }

        return all;
    }

    /// <summary>Every drop that is to be told.</summary>
    public List<GapReport> Gaps()
    {
        List<GapReport> gaps = [];
        while (Ledger.TryTake(out GapReport? report))
            gaps.Add(report);
        return gaps;
    }

    public static ChannelTable Table(string name, int channels = 1) => ChannelTable.Empty.With(
        Enumerable.Range(1, channels)
            .Select(n => new Channel((ushort)n, DataType.F32, n == 1 ? name : $"{name}-{n}", "Cel")));

    public static IEnumerable<uint> Sequences(uint from, int count) =>
        Enumerable.Range((int)from, count).Select(s => (uint)s);

    public void Dispose()
    {
        Close();
        meter.Dispose();
    }

    private long PagedIn => Enumerable.Range(1, BufferDisk.Lanes)
        .Sum(p => Buffer.FillOf(p).Records - Buffer.FillOf(p).OnDisk);

    private Arrival ArrivalNow(uint sequence) => new(
        1_763_900_000_000 + sequence, (long)Time.GetElapsedTime(0).TotalMicroseconds, IsSynchronised: true);

    private static Taken ViewOf(in BufferedRecord record) => new(
        record.Handle,
        record.Stream.DeviceId,
        record.Stream.BootId,
        record.Sequence,
        record.Stream.Priority,
        record.Channels.Find(1)?.Name ?? "",
        record.Arrival,
        record.IsBackfill);

    private void Close()
    {
        Pager.Dispose();
        Disk.Dispose();
        Ledger.Dispose();
        Buffer.Dispose();
    }
}

/// <summary>Hears of a stream's progress, and notes what was safe each time.</summary>
internal sealed class StreamWitness(DeviceStream stream) : IStreamOwner
{
    public List<uint> Told { get; } = [];

    public void Progressed() => Told.Add(stream.SafeSequence);
}
