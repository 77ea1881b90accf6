using IotTcpGateway.Buffer;
using IotTcpGateway.Forward.Payloads;

namespace IotTcpGateway.Forward;

/// <summary>
/// Tells what was given up, on one link. In rounds at least a second apart, each of what was there at its beginning:
/// of a flood that goes on, that is one report per second and device, and not one per frame. For the session's loop
/// alone.
/// </summary>
internal sealed class GapFeed(ForwardContext context, Outbox outbox)
{
    /// <summary>Reports on their way at once; records have more use for the window.</summary>
    public const int InFlightMax = 16;

    public static readonly TimeSpan RoundInterval = TimeSpan.FromSeconds(1);
    public static readonly TimeSpan RetryFirst = TimeSpan.FromSeconds(1);
    public static readonly TimeSpan RetryMax = TimeSpan.FromSeconds(60);

    private readonly DropLedger? ledger = context.Ledger;
    private readonly Dictionary<string, (TimeSpan Wait, long RefusedAt)> refused = [];
    private long? roundBegan;
    private int left;

    /// <summary>Reports in flight or about to be.</summary>
    public int InFlight { get; private set; }

    /// <summary>Queues the next report; false if there is none now.</summary>
    /// <param name="isLast">Whether there will be no other round: what is on disk is told at the next start.</param>
    public bool TryTake(bool isLast)
    {
        if (ledger is null || InFlight >= InFlightMax || (isLast && ledger.IsOnDisk) || !TryBeginRound(isLast))
            return false;
        if (!ledger.TryTake(out GapReport? report))
        {
            left = 0;
            return false;
        }

        left--;
        string topic = context.Topics.Gaps(report.DeviceId);
        if (context.MutedTopics.Contains(topic))
        {
            context.Metrics.MessageRefused("muted");
            ledger.Published(report);
            return true;
        }

        Publication publication = outbox.Rent(topic);
        outbox.Append(publication, StatusPayloads.Gap(report));
        publication.Gap = report;
        outbox.Enqueue(publication);
        InFlight++;
        return true;
    }

    public void Answered(GapReport report, Verdict verdict)
    {
        InFlight--;
        if (verdict == Verdict.RetryLater)
        {
            ledger!.PutOff(report, NextWait(report.DeviceId));
            return;
        }

        refused.Remove(report.DeviceId);
        if (verdict == Verdict.Confirmed)
            context.Metrics.GapReportConfirmed();
        else
            context.MutedTopics.Add(context.Topics.Gaps(report.DeviceId));
        ledger!.Published(report);
    }

    /// <summary>Time until a round may begin; null if there is nothing to tell, or one is under way.</summary>
    public TimeSpan? UntilNextDue()
    {
        if (ledger is null || left > 0 || ledger.Untaken == 0)
            return null;
        return roundBegan is { } began ? RoundInterval - context.Time.GetElapsedTime(began) : TimeSpan.Zero;
    }

    private bool TryBeginRound(bool isLast)
    {
        if (left > 0)
            return true;
        if (ledger!.Untaken == 0 || (!isLast && UntilNextDue() > TimeSpan.Zero))
            return false;
        left = ledger.Untaken;
        roundBegan = context.Time.GetTimestamp();
        return true;
    }

    // Several of a device may be in flight and be refused: that is one refusal.
    private TimeSpan NextWait(string deviceId)
    {
        if (!refused.TryGetValue(deviceId, out (TimeSpan Wait, long RefusedAt) last))
            return Remember(deviceId, RetryFirst);
        TimeSpan over = last.Wait - context.Time.GetElapsedTime(last.RefusedAt);
        return over > TimeSpan.Zero
            ? over
            : Remember(deviceId, TimeSpan.FromTicks(Math.Min(last.Wait.Ticks * 2, RetryMax.Ticks)));
    }

    private TimeSpan Remember(string deviceId, TimeSpan wait)
    {
        refused[deviceId] = (wait, context.Time.GetTimestamp());
        return wait;
    }
}
