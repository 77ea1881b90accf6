using IotTcpGateway.Buffer;

namespace IotTcpGateway.Tests.Simulation;

/// <summary>A promise was broken.</summary>
internal sealed class BrokenPromiseException(string what) : Exception(what);

/// <summary>What was promised and what came of it, kept outside of the gateway.</summary>
internal sealed class Account(BufferOptions options, Trouble trouble)
{
    private readonly Dictionary<(string DeviceId, uint BootId), ModelBoot> boots = [];
    private readonly List<LaneEntry>[] lanes = [[], [], []];
    private readonly Dictionary<(ModelBoot Boot, bool IsBackfill), uint> highestDelivered = [];
    private int refusedInLife = -1;
    private readonly string? traced = Environment.GetEnvironmentVariable("BUFFER_TRACE");

    /// <summary>Which start it is.</summary>
    public int Life { get; set; }

    /// <summary>How long gateways ran in the lives before.</summary>
    public TimeSpan RunTimeBefore { get; set; }

    /// <summary>Bits that were turned on disk.</summary>
    public int Flips { get; set; }

    /// <summary>Frames that gateways said were lost by damage.</summary>
    public long ToldLost { get; set; }

    /// <summary>Whether a start found damage that it could not count.</summary>
    public bool IsDamageTold { get; set; }

    public long Delivered { get; private set; }

    public long Acknowledged { get; private set; }

    public long Told { get; private set; }

    /// <summary>Whether names of channels may be lost: by rot, or when a full disk has no room for them.</summary>
    public bool MayLoseNames => HasRotted || trouble.HasFlag(Trouble.FullDisk);

    private bool HasRotted => Flips > 0;

    public static void Require(bool holds, string otherwise)
    {
        if (!holds)
            throw new BrokenPromiseException(otherwise);
    }

    public void Add(ModelBoot boot) => boots.Add((boot.Device.Id, boot.BootId), boot);

    public ModelFrame FrameOf(string deviceId, uint bootId, uint sequence)
    {
        Require(
            boots.TryGetValue((deviceId, bootId), out ModelBoot? boot) && sequence >= 1 && sequence <= boot.Frames.Count,
            $"{deviceId}/{bootId}/{sequence} was never sent");
        return boot!.Frames[(int)sequence - 1];
    }

    /// <summary>Prints what comes of a frame, if that is asked for.</summary>
    public void Trace(ModelFrame frame, string what)
    {
        if (traced is not null && frame.ToString() == traced)
            Console.Error.WriteLine($"life {Life}: {traced} {what}");
    }

    /// <summary>A gateway took a frame.</summary>
    public void Taken(ModelFrame frame)
    {
        frame.Takings++;
        frame.IsBehindCursor = false;
        Trace(frame, "taken");
        lanes[frame.Boot.Device.Priority - 1].Add(new LaneEntry(frame));
    }

    /// <summary>A device was told what is safe.</summary>
    public void Safe(ModelBoot boot, uint safe)
    {
        Require(safe <= boot.Frames.Count, $"{boot.Device.Id}/{boot.BootId}: {safe} is safe and was never sent");
        for (uint sequence = boot.Safe + 1; sequence <= safe; sequence++)
        {
            ModelFrame frame = boot.Frames[(int)sequence - 1];
            frame.IsAcknowledged |= !frame.IsRejected;
            Trace(frame, frame.IsRejected ? "passed over" : "acknowledged");
            Acknowledged++;
        }

        boot.Safe = Math.Max(boot.Safe, safe);
        // What was rejected is kept no more.
        while (boot.Safe < boot.Frames.Count && boot.Frames[(int)boot.Safe].IsRejected)
            boot.Safe++;
    }

    /// <summary>The link was lost, or is another one.</summary>
    public void NewLink()
    {
        // What went first as live may be part of the backlog now.
        if (options.Drain == DrainOrder.LiveFirst)
            highestDelivered.Clear();
    }

    /// <summary>The broker got a frame.</summary>
    public void Arrived(ModelFrame frame, bool isBackfill)
    {
        Delivered++;
        Trace(frame, isBackfill ? "delivered as backfill" : "delivered");
        if (frame.IsDelivered)
        {
            Require(
                !frame.IsBehindCursor || frame.Takings > 1 || HasRotted,
                $"{frame} was delivered again though a durable cursor was past it");
        }
        else if (!frame.IsGivenUp && !frame.IsDoubtful && frame.Takings == 1)
        {
            CheckOrder(frame, isBackfill);
        }

        frame.IsDelivered = true;
    }

    /// <summary>A gateway handed out a frame to be published.</summary>
    public void HandedOut(ModelFrame frame)
    {
        Trace(frame, "handed out");
        // What is dropped at its arrival may be on disk from before a crash.
        bool isDroppedAtArrival = options.WhenFull == WhenFull.DropNewest && frame.DroppedInLife == Life;
        Require(
            frame.SettledInLife != Life || frame.Takings > 1 || frame.IsDoubtful || isDroppedAtArrival,
            $"{frame} was taken again though it is settled in this life");
    }

    /// <summary>The broker's last word on a frame, as the gateway has heard it.</summary>
    public void Settled(ModelFrame frame)
    {
        Trace(frame, "settled");
        frame.SettledInLife = Life;
        frame.Confirmations++;
    }

    public void CursorSynced(int priority)
    {
        foreach (LaneEntry entry in lanes[priority - 1])
        {
            if (!entry.IsSettled)
                break;
            entry.Frame.IsBehindCursor = entry.Frame.Takings == 1;
        }

        lanes[priority - 1].RemoveAll(e => e.IsSettled && e.Frame.IsBehindCursor);
    }

    /// <summary>Nothing of a lane waits any more.</summary>
    public void LaneIsEmpty(int priority) => lanes[priority - 1].Clear();

    /// <summary>A gateway gave up a frame.</summary>
    public void GivenUp(ModelFrame frame, DropReason reason, TimeSpan runTime)
    {
        Require(
            reason != DropReason.Expired || frame.Takings > 1 || IsOldEnough(frame, runTime),
            $"{frame} expired after {runTime - frame.ArrivalRunTime}");
        Trace(frame, $"given up, {reason}");
        frame.IsGivenUp = true;
        if (!frame.IsAcknowledged)
            frame.DroppedInLife = Life;
        Settled(frame);
    }

    /// <summary>The disk refuses everything: what is given up meanwhile is in the ledger in memory alone.</summary>
    public void DiskRefuses() => refusedInLife = Life;

    /// <summary>An entry of the ledger as it is now.</summary>
    public void Entered(GapReport report, TimeSpan runTime)
    {
        Require(report.Count >= 1 && report.From <= report.To, $"{report} says nothing");
        for (uint sequence = report.From; sequence <= report.To; sequence++)
        {
            ModelFrame frame = FrameOf(report.DeviceId, report.BootId, sequence);
            if (!frame.IsGivenUp)
                Trace(frame, $"in the ledger, {report.Reason}");
            frame.IsGivenUp = true;
        }

        ModelFrame last = FrameOf(report.DeviceId, report.BootId, report.To);
        Require(
            report.Reason != DropReason.Expired || last.Takings > 1 || IsOldEnough(last, runTime),
            $"{last} expired after {runTime - last.ArrivalRunTime}");
    }

    /// <summary>The broker has confirmed a gap report.</summary>
    public void Published(GapReport report)
    {
        Told++;
        for (uint sequence = report.From; sequence <= report.To; sequence++)
        {
            ModelFrame frame = FrameOf(report.DeviceId, report.BootId, sequence);
            frame.IsTold = true;
            Trace(frame, $"told, {report.Reason}");
        }
    }

    /// <summary>The gateway is gone: what it had taken and not made safe may be anywhere.</summary>
    public void Crashed(IReadOnlyDictionary<ModelBoot, uint> safe, bool isDiskRefusing)
    {
        NewLink();
        // What was confirmed and no cursor says so comes again.
        foreach (LaneEntry entry in lanes.SelectMany(l => l))
            entry.Frame.Confirmations = 0;
        foreach (ModelBoot boot in boots.Values)
        {
            uint known = Math.Max(boot.Safe, safe.GetValueOrDefault(boot));
            foreach (ModelFrame frame in boot.Frames)
            {
                if (frame.Takings == 0)
                    continue;
                Trace(frame, $"in a crash, safe is {known}");
                frame.IsDoubtful |= frame.Sequence > known || options.Ack == AckPolicy.Memory;
                frame.IsExcused |= options.Ack == AckPolicy.Memory && !frame.IsDelivered;
                frame.IsExcused |= (isDiskRefusing || refusedInLife == Life) && frame.DroppedInLife == Life;
            }
        }
    }

    /// <summary>Everything has come to rest: what was acknowledged is delivered or told.</summary>
    public void CheckAll()
    {
        List<ModelFrame> lost = [.. boots.Values.SelectMany(b => b.Frames).Where(IsLost)];
        long allowed = ToldLost + (IsDamageTold ? Flips : 0);
        bool isAllowed = trouble.HasFlag(Trouble.BitRot) && lost.Count <= allowed;
        Require(
            lost.Count == 0 || isAllowed,
            $"{lost.Count} acknowledged frames neither delivered nor told, {allowed} told as damage: "
            + string.Join(' ', lost.Take(10)));
    }

    // Ages are counted in whole seconds.
    private bool IsOldEnough(ModelFrame frame, TimeSpan runTime) =>
        runTime - frame.ArrivalRunTime >= options.MaxAge - TimeSpan.FromSeconds(1);

    /// <summary>Some frames of which nothing came.</summary>
    public string Waiting() => string.Join(
        ' ',
        boots.Values.SelectMany(b => b.Frames).Where(f => f is { Takings: > 0, IsDelivered: false, IsGivenUp: false }).Take(20));

    private static bool IsLost(ModelFrame frame) =>
        frame.IsAcknowledged && !frame.IsDelivered && !frame.IsTold && !frame.IsQuarantined && !frame.IsExcused;

    private void CheckOrder(ModelFrame frame, bool isBackfill)
    {
        bool isSplit = options.Drain == DrainOrder.LiveFirst;
        (ModelBoot, bool) key = (frame.Boot, isSplit && isBackfill);
        uint highest = highestDelivered.GetValueOrDefault(key);
        // What was told as given up may come all the same after a crash, late.
        Require(frame.Sequence > highest || frame.IsTold, $"{frame} was delivered for the first time after {highest}");
        highestDelivered[key] = Math.Max(highest, frame.Sequence);
    }

    private sealed record LaneEntry(ModelFrame Frame)
    {
        public bool IsSettled => Frame.Takings == 1 && Frame.Confirmations > 0;
    }
}
