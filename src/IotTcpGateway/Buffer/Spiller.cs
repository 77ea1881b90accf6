using System.Diagnostics.Metrics;

using IotTcpGateway.Journal;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Buffer;

/// <summary>
/// Everything that is written to disk for the buffer: frames in an outage, the ledger, the quarantine, and what is
/// removed. One step after the other, on a thread of its own; a sync may take as long as it takes.
/// </summary>
internal sealed partial class Spiller
{
    private static readonly TimeSpan TickMin = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan TickMax = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan TidyInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan WearInterval = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan SlowSync = TimeSpan.FromSeconds(2);

    private readonly RecordBuffer buffer;
    private readonly BufferDisk disk;
    private readonly DropLedger ledger;
    private readonly BufferOptions options;
    private readonly TimeProvider time;
    private readonly ILogger logger;
    private readonly LaneSpiller[] lanes;
    private readonly LaneRetention[] retentions;
    private readonly QuarantineFeed quarantine;
    private readonly FillForecast forecast;
    private readonly DeviceWear wear;
    private readonly TimeSpan tick;
    private readonly TimeSpan expiryInterval;
    private DiskStatus status;
    private DiskState state = DiskState.Healthy;
    private DiskError error;
    private bool isOpen;
    private bool isSpilling;
    private long lostFrames;
    private long triedAt;
    private long tidiedAt;
    private long expiredAt;
    private string troubleTold = "";
    private long wearAt;
    private long? deviceBytes = 0;
    private long? deviceBytesPerDay;
    private volatile bool isStopping;

    public Spiller(
        RecordBuffer buffer,
        BufferDisk disk,
        DropLedger ledger,
        BufferOptions options,
        TimeProvider time,
        Meter meter,
        ILogger logger)
    {
        this.buffer = buffer;
        this.disk = disk;
        this.ledger = ledger;
        this.options = options;
        this.time = time;
        this.logger = logger;
        lanes = [.. Enumerable.Range(1, BufferDisk.Lanes).Reverse().Select(p => new LaneSpiller(p, buffer, disk, time))];
        retentions = [.. Enumerable.Range(1, BufferDisk.Lanes).Select(p => new LaneRetention(p, buffer, disk, ledger))];
        quarantine = new QuarantineFeed(buffer, disk);
        forecast = new FillForecast(time, options.Disk);
        wear = new DeviceWear(time);
        tick = TimeSpan.FromTicks(Math.Clamp(options.SpillAfter.Ticks / 4, TickMin.Ticks, TickMax.Ticks));
        expiryInterval = TimeSpan.FromSeconds(Math.Clamp(options.MaxAge.TotalSeconds / 20, 1, 10));
        status = new DiskStatus { State = DiskState.Healthy, BytesMax = options.Disk };
        triedAt = tidiedAt = expiredAt = time.GetTimestamp();
        buffer.DiskBytes = () => Status.Bytes;
        meter.CreateObservableGauge("iotgw_buffer_disk_state", StateNow, null, "1 for the state that the disk is in.");
        meter.CreateObservableCounter(
            "iotgw_buffer_appended_bytes_total", () => Status.WrittenBytes, null, "Bytes that the buffer wrote to disk.");
        meter.CreateObservableCounter(
            "iotgw_buffer_disk_written_bytes_total",
            () => wear.Bytes ?? Status.WrittenBytes,
            null,
            "Bytes that reached the device for this process.");
        meter.CreateObservableCounter(
            "iotgw_buffer_quarantined_total", () => quarantine.Quarantined, null, "Frames put into quarantine.");
    }

    /// <summary>Why the backlog cannot be read; empty if it can.</summary>
    public Func<string> ReadTrouble { get; set; } = () => "";

    /// <summary>What is known of the disk; from any thread.</summary>
    public DiskStatus Status => Volatile.Read(ref status);

    /// <summary>Everything that was asked to be put on disk at the end is there, or cannot be.</summary>
    public bool IsFlushed { get; private set; }

    /// <summary>Opens what there is from before the start; true if the disk can be used.</summary>
    public bool TryOpen(CustodyMemory custody)
    {
        DiskError failed = disk.Open(custody);
        if (failed.IsNone && (disk.HasLedger || ledger.Entries > 0))
            failed = OpenLedger();
        isOpen = buffer.HasQuarantine = buffer.IsLedgerOnDisk = failed.IsNone;
        Become(isOpen ? DiskState.Healthy : DiskState.Failed, failed);
        foreach (string damage in disk.Damage)
            LogDamage(logger, damage);
        buffer.CountLost(disk.TakeMissing());
        disk.Damage.Clear();
        ShowStatus();
        return isOpen;
    }

    /// <summary>Frames of a lane that should be on disk could not be read; from any thread.</summary>
    public void Lost(int priority, long frames)
    {
        Interlocked.Add(ref lostFrames, frames);
        buffer.CountLost(frames);
        LogLost(logger, frames, priority);
    }

    /// <summary>From the next step on everything goes to disk at once.</summary>
    public void BeginFlush() => isStopping = true;

    /// <summary>Does what is due; returns how long nothing will be, unless the buffer says otherwise.</summary>
    public TimeSpan Step()
    {
        if (!isOpen && (!IsDue(ref triedAt, RetryInterval) || !TryOpen(new CustodyMemory(0))))
        {
            DropExpiredInMemory();
            IsFlushed |= isStopping;
            return tick;
        }

        isSpilling = SpillPolicy.IsSpilling(isSpilling, buffer.LookAtAges(), options.SpillAfter, isStopping);
        bool hasMore = false;
        foreach (LaneSpiller lane in lanes)
            hasMore |= Spill(lane);
        quarantine.Step();
        ReleaseHeld();
        buffer.Evict();
        AskWhetherItIsBack();
        Retain();
        ShowStatus();
        IsFlushed = isStopping && !hasMore
            && (state == DiskState.Failed
                || lanes.All(l => l.IsClean && (l.IsFull || !buffer.HasUnspilled(l.Priority))));
        if (hasMore)
            return TimeSpan.Zero;
        return lanes.All(l => l.IsClean) && !isSpilling ? tick : LaneSpiller.CommitInterval;
    }

    /// <summary>The last words: what the broker confirmed to the end, and what is safe of every device.</summary>
    public void Finish()
    {
        if (!isOpen)
            return;
        // Nobody needs room any more: without the ledger the cursors stay where they are, and what was given up comes
        // again.
        if (FlushLedger().IsNone)
        {
            buffer.ReleaseHeld(buffer.TakeHeld());
            foreach (LaneRetention retention in retentions)
                retention.Tidy(isLast: true);
        }

        ledger.Tidy();
        DiskError failed = disk.WriteCustody(buffer.Custody());
        if (!failed.IsNone)
            LogNoCustody(logger, failed.ToString());
    }

    private bool Spill(LaneSpiller lane)
    {
        if (!isSpilling)
            lane.Rest();
        bool hasMore = isSpilling && lane.Append();
        if (lane.IsFull)
            MakeRoom(lane.Priority);
        if (lane.IsFailed)
            Become(DiskState.Failed, disk.Find(lane.Priority)?.Journal.LastError ?? disk.OpenError);
        bool isAtOnce = hasMore || isStopping;
        // What was given up is in the ledger before a later frame of its device proves that it was safe.
        if (lane.IsCommitDue(isAtOnce) && IsLedgerSafe())
            Took(lane, lane.Commit());
        return hasMore && state != DiskState.Failed;
    }

    private void Took(LaneSpiller lane, in CommitResult result)
    {
        if (lane.LastCommit >= SlowSync)
            LogSlow(logger, lane.LastCommit.TotalSeconds);
        if (result.State != JournalState.Healthy)
            Become(DiskStatus.Of(result.State), result.Error);
    }

    private void MakeRoom(int priority)
    {
        if (options.WhenFull == WhenFull.DropOldest)
        {
            for (int lower = 1; lower <= priority; lower++)
            {
                if (retentions[lower - 1].DropOldest())
                    return;
            }
        }

        Become(DiskState.Full, disk.Find(priority)?.Journal.LastError ?? DiskError.None);
    }

    // A disk that failed or was full is asked from time to time; nobody has to restart anything.
    private void AskWhetherItIsBack()
    {
        if (state == DiskState.Healthy || !IsDue(ref triedAt, RetryInterval))
            return;
        // What was given up meanwhile is in memory alone; to ask a lane is a commit, which may be a proof.
        if (!IsLedgerSafe())
            return;
        DiskState worst = DiskState.Healthy;
        DiskError why = DiskError.None;
        foreach (LaneSpiller lane in lanes)
        {
            (DiskState now, DiskError error) = lane.AskAgain();
            if (now > worst)
                (worst, why) = (now, error);
        }

        Become(worst, why);
    }

    private void Retain()
    {
        if (retentions.Any(r => r.IsGivingUp))
        {
            foreach (LaneRetention retention in retentions)
                retention.Advance(IsLedgerSafe);
        }

        if (IsDue(ref expiredAt, expiryInterval))
        {
            foreach (LaneRetention retention in retentions)
                retention.DropExpired(options.MaxAge);
            DropExpiredInMemory();
        }

        if (!IsDue(ref tidiedAt, TidyInterval))
            return;
        if (!IsLedgerSafe())
            return;
        ledger.Tidy();
        foreach (LaneRetention retention in retentions)
            retention.Tidy();
    }

    private void DropExpiredInMemory() => buffer.DropExpired(
        (long)((time.GetElapsedTime(0) - options.MaxAge).TotalSeconds * 1e6));

    private void ReleaseHeld()
    {
        List<DeviceStream> held = buffer.TakeHeld();
        if (held.Count == 0)
            return;
        // With a disk that fails, the ledger is in memory: better than devices that wait for ever.
        IsLedgerSafe();
        buffer.ReleaseHeld(held);
    }

    // What was given up is told on disk before anything on disk says that it is settled. If the ledger has no room,
    // room is what is needed.
    private bool IsLedgerSafe()
    {
        DiskError failed = FlushLedger();
        if (failed.IsNone || failed.IsNoSpace)
            return true;
        Become(DiskState.Failed, failed);
        return false;
    }

    private DiskError FlushLedger()
    {
        DiskError failed = ledger.Entries > 0 ? OpenLedger() : DiskError.None;
        return failed.IsNone ? ledger.Flush() : failed;
    }

    private DiskError OpenLedger()
    {
        if (ledger.IsOnDisk)
            return DiskError.None;
        DiskError failed = disk.OpenLedgerDirectory(out IJournalDisk ledgerDisk);
        return failed.IsNone ? ledger.Open(ledgerDisk) : failed;
    }

    private void Become(DiskState newState, DiskError why)
    {
        bool isNews = newState != state || (newState != DiskState.Healthy && why != error);
        (state, error) = (newState, why);
        if (!isNews)
            return;
        if (newState == DiskState.Healthy)
            LogBack(logger);
        else if (newState == DiskState.Full)
            LogFull(logger, options.WhenFull, why.IsNone ? "buffer.disk is used up" : why.ToString());
        else
            LogFailed(logger, why.ToString());
    }

    private bool IsDue(ref long last, TimeSpan interval)
    {
        if (time.GetElapsedTime(last) < interval)
            return false;
        last = time.GetTimestamp();
        return true;
    }

    private void ShowStatus()
    {
        long bytes = disk.Bytes;
        string trouble = ReadTrouble();
        if (trouble.Length > 0 && troubleTold.Length == 0)
            LogUnreadable(logger, trouble);
        troubleTold = trouble;
        if (IsDue(ref wearAt, WearInterval))
            (deviceBytes, deviceBytesPerDay) = (wear.Bytes, wear.BytesPerDay);
        LaneFill[] fills = [.. lanes.Select(l => buffer.FillOf(l.Priority))];
        Volatile.Write(ref status, new DiskStatus
        {
            State = state == DiskState.Healthy && trouble.Length > 0 ? DiskState.Failed : state,
            Error = state == DiskState.Healthy ? trouble : error.IsNone ? "buffer.disk is used up" : error.ToString(),
            Bytes = bytes,
            BytesMax = options.Disk,
            Records = fills.Sum(f => f.Synced),
            IsSpilling = isSpilling,
            WrittenBytes = disk.Journals.Sum(j =>
                j.Journal.Counters.RecordBytesWritten + j.Journal.Counters.PreallocatedBytes
                + j.Journal.Counters.OtherBytesWritten),
            DeviceBytes = deviceBytes,
            DeviceBytesPerDay = deviceBytesPerDay,
            Quarantined = quarantine.Quarantined,
            Lost = Interlocked.Read(ref lostFrames),
            SecondsUntilFull = forecast.SecondsUntilFull(disk.UsedBytes),
            LastSyncMilliseconds = Math.Round(lanes.Max(l => l.LastCommit).TotalMilliseconds, 1),
        });
    }

    private IEnumerable<Measurement<long>> StateNow()
    {
        DiskState now = Status.State;
        foreach (DiskState one in Enum.GetValues<DiskState>())
        {
            yield return new Measurement<long>(
                one == now ? 1 : 0, new KeyValuePair<string, object?>("state", DiskStatus.Word(one)));
        }
    }

    [LoggerMessage(1301, LogLevel.Warning, "the buffer's disk is well again: frames go to disk when the broker is away")]
    private static partial void LogBack(ILogger logger);

    [LoggerMessage(1302, LogLevel.Error,
        "the buffer's disk is full ({Why}): what happens now is whenFull {WhenFull}; free room or raise buffer.disk")]
    private static partial void LogFull(ILogger logger, WhenFull whenFull, string why);

    [LoggerMessage(1303, LogLevel.Error,
        "the buffer's disk refuses ({Why}): frames wait in memory until the broker takes them; look at the card and the "
        + "file system; it is asked again every two seconds")]
    private static partial void LogFailed(ILogger logger, string why);

    [LoggerMessage(1304, LogLevel.Warning, "the buffer on disk was damaged: {Damage}; everything whole is used")]
    private static partial void LogDamage(ILogger logger, string damage);

    [LoggerMessage(1305, LogLevel.Warning, "the disk took {Seconds:0.0} s for a sync: acknowledgements wait for it")]
    private static partial void LogSlow(ILogger logger, double seconds);

    [LoggerMessage(1306, LogLevel.Warning,
        "what is safe of each device could not be left for the next start ({Why}): devices may send again what is delivered")]
    private static partial void LogNoCustody(ILogger logger, string why);

    [LoggerMessage(1307, LogLevel.Error,
        "{Frames} frames of priority {Priority} could not be read back from the buffer's disk: they are lost")]
    private static partial void LogLost(ILogger logger, long frames, int priority);

    [LoggerMessage(1308, LogLevel.Error,
        "the backlog cannot be read from the buffer's disk ({Why}): it is tried again every two seconds; look at the card")]
    private static partial void LogUnreadable(ILogger logger, string why);
}
