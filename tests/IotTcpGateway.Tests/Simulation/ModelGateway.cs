using System.Diagnostics.Metrics;

using IotTcpGateway.Buffer;
using IotTcpGateway.Ingest;
using IotTcpGateway.Journal;

using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace IotTcpGateway.Tests.Simulation;

/// <summary>
/// One run of the gateway, from a start to its end, good or bad: the real buffer, journals, ledger and custody, joined
/// as the gateway joins them, with steps in place of threads.
/// </summary>
internal sealed class ModelGateway : IDisposable
{
    private readonly Account account;
    private readonly SimulatedVolume volume;
    private readonly Meter meter = new("simulation");
    private readonly BufferDisk disk;
    private readonly Spiller spiller;
    private readonly Pager pager;
    private readonly bool isClockSynchronised;
    private readonly Dictionary<string, List<DeviceStream>> streams = [];
    private readonly FakeTimeProvider time = new(default(DateTimeOffset).AddHours(1));
    private readonly long startedAt;
    private TimeSpan spillerDue;
    private TimeSpan pagerDue = TimeSpan.MaxValue;
    private bool isSpillerWoken;
    private bool isPagerWoken;

    public ModelGateway(BufferOptions options, SimulatedVolume volume, Account account, Random random, uint hostBoot)
    {
        this.account = account;
        this.volume = volume;
        startedAt = time.GetTimestamp();
        isClockSynchronised = random.Next(3) > 0;
        Ledger = new DropLedger(time, () => 0);
        Buffer = new RecordBuffer(options, time, meter) { GivenUp = GiveUp };
        var settings = new LaneSettings(1 << 20, options.MaxAge, new RunTime(time), hostBoot, _ => null);
        disk = new BufferDisk(volume, options, settings, Buffer);
        spiller = new Spiller(Buffer, disk, Ledger, options, time, meter, NullLogger.Instance);
        pager = new Pager(Buffer, disk, time, Lost);
        Buffer.SpillDue += () => isSpillerWoken = true;
        Buffer.PageDue += () => isPagerWoken = true;
        volume.CursorSynced = account.CursorSynced;
    }

    public RecordBuffer Buffer { get; }

    public DropLedger Ledger { get; }

    /// <summary>How long gateways have run, all together.</summary>
    public TimeSpan RunTime => account.RunTimeBefore + time.GetElapsedTime(startedAt);

    public bool IsFlushed => spiller.IsFlushed;

    private TimeSpan Elapsed => time.GetElapsedTime(0);

    /// <summary>Reads what there is from before, and says what was safe.</summary>
    public void Start()
    {
        var custody = new CustodyMemory(1000);
        spiller.TryOpen(custody);
        account.ToldLost += Buffer.DroppedRecords;
        account.IsDamageTold |= account.Flips > 0;
        foreach (CustodyEntry entry in custody.Entries)
            Remember(entry.DeviceId, Buffer.Restore(entry.DeviceId, entry.BootId, entry.Priority, entry.SafeSequence));
    }

    /// <summary>Both clocks at this moment.</summary>
    public Arrival Now()
    {
        long microseconds = (long)(Elapsed.TotalSeconds * 1e6);
        return isClockSynchronised
            ? new Arrival((long)RunTime.TotalMilliseconds + 1_000_000, microseconds, IsSynchronised: true)
            : new Arrival(0, microseconds, IsSynchronised: false);
    }

    /// <summary>The stream of a boot; of more than four the one longest unused is forgotten.</summary>
    public DeviceStream StreamOf(ModelDevice device, uint bootId)
    {
        List<DeviceStream> known = streams.GetValueOrDefault(device.Id) ?? [];
        DeviceStream? stream = known.Find(s => s.BootId == bootId);
        if (stream is not null)
            known.Remove(stream);
        stream ??= Buffer.Open(device.Id, bootId, device.Priority);
        Remember(device.Id, stream);
        return stream;
    }

    /// <summary>What is safe of every boot.</summary>
    public Dictionary<ModelBoot, uint> Custody() => Buffer.Custody()
        .ToDictionary(c => account.FrameOf(c.DeviceId, c.BootId, 1).Boot, c => c.SafeSequence);

    public void Advance(TimeSpan by) => time.Advance(by);

    /// <summary>Lets the threads do what they would.</summary>
    public void RunThreads()
    {
        if (isSpillerWoken || Elapsed >= spillerDue)
            StepSpiller();
        if (isPagerWoken || Elapsed >= pagerDue)
            StepPager();
        Check();
    }

    /// <summary>Writes down what is not safe, and what the next start is to know.</summary>
    public void BeginFlush()
    {
        spiller.BeginFlush();
        isSpillerWoken = true;
    }

    public void Finish() => spiller.Finish();

    /// <summary>Whether nothing waits on disk.</summary>
    public bool IsDiskEmpty => Enumerable.Range(1, BufferDisk.Lanes).All(p => Buffer.FillOf(p) is { Records: 0, Synced: 0 });

    /// <summary>Looks at what is in quarantine.</summary>
    public void ReadQuarantine()
    {
        if (!volume.Has("quarantine") || disk.OpenQuarantine() is not { } quarantine)
            return;
        using JournalReader reader = quarantine.Journal.CreateReader(1);
        for (ReadResult result; (result = reader.TryRead(out JournalRecord record)) is ReadResult.Record or ReadResult.Gap;)
        {
            if (result == ReadResult.Record && SpilledFrame.TryRead(record.Payload, out SpilledFrame frame))
            {
                string deviceId = System.Text.Encoding.UTF8.GetString(frame.DeviceId);
                account.FrameOf(deviceId, frame.BootId, frame.Sequence).IsQuarantined = true;
            }
        }
    }

    /// <summary>What the forwarder was given is what its device sent.</summary>
    public ModelFrame Identify(in BufferedRecord record)
    {
        ModelFrame frame = account.FrameOf(record.Stream.DeviceId, record.Stream.BootId, record.Sequence);
        Account.Require(record.Body.SequenceEqual(frame.Body()), $"{frame} has another body");
        // What stands behind a hole in a commit that nobody was told of may have lost its table there.
        bool mayBeNameless = account.MayLoseNames || frame.IsDoubtful;
        Account.Require(
            ChannelTable.ByContent.Equals(record.Channels, frame.Channels)
                || (mayBeNameless && record.Channels.Channels.Count == 0),
            $"{frame} has {record.Channels.Channels.Count} channels, not {frame.Channels.Channels.Count}");
        Account.Require(
            !record.Arrival.IsSynchronised || frame.Takings > 1 || record.Arrival.UnixMilliseconds == frame.Arrival.UnixMilliseconds,
            $"{frame} has another time: {record.Arrival}, not {frame.Arrival}");
        return frame;
    }

    public void Dispose()
    {
        Buffer.Dispose();
        meter.Dispose();
    }

    public override string ToString() => string.Join(", ", Enumerable.Range(1, 3).Select(p => Buffer.FillOf(p)))
        + $", {Buffer.MemoryBytes} of {Buffer.MemoryBytesMax} bytes, {spiller.Status}, {Ledger.ReportsWaiting} reports";

    private void Remember(string deviceId, DeviceStream stream)
    {
        if (!streams.TryGetValue(deviceId, out List<DeviceStream>? known))
            streams.Add(deviceId, known = []);
        if (known.Count == DeviceRegistry.BootsMax)
        {
            Buffer.Forget(known[0]);
            known.RemoveAt(0);
        }

        known.Add(stream);
    }

    private void StepSpiller()
    {
        isSpillerWoken = false;
        TimeSpan wait = spiller.Step();
        spillerDue = Elapsed + wait;
        if (spiller.Status.State == DiskState.Failed)
            account.DiskRefuses();
        foreach (GapReport report in Ledger.Latest)
            account.Entered(report, RunTime);
    }

    private void StepPager()
    {
        isPagerWoken = false;
        TimeSpan wait = pager.Step();
        pagerDue = wait == Timeout.InfiniteTimeSpan ? TimeSpan.MaxValue : Elapsed + wait;
    }

    private void Check()
    {
        Account.Require(
            Buffer.MemoryBytes <= Buffer.MemoryBytesMax, $"{Buffer.MemoryBytes} bytes of memory, not {Buffer.MemoryBytesMax}");
        for (int priority = 1; priority <= BufferDisk.Lanes; priority++)
        {
            LaneFill fill = Buffer.FillOf(priority);
            Account.Require(
                fill.OnDisk >= 0 && fill.OnDisk <= fill.Synced && fill.Synced <= fill.Records, $"lane {priority}: {fill}");
            if (fill.Records == 0)
                account.LaneIsEmpty(priority);
        }
    }

    private void GiveUp(string deviceId, uint bootId, uint sequence, DropReason reason)
    {
        account.GivenUp(account.FrameOf(deviceId, bootId, sequence), reason, RunTime);
        Ledger.Add(deviceId, bootId, sequence, reason);
    }

    private void Lost(int priority, long frames)
    {
        account.ToldLost += frames;
        spiller.Lost(priority, frames);
    }
}
