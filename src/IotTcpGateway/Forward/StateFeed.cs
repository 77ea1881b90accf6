using IotTcpGateway.Buffer;
using IotTcpGateway.Forward.Payloads;

namespace IotTcpGateway.Forward;

/// <summary>
/// The retained topics of the devices on one link: changes first, and once per link the state of every device, because
/// a broker that was started anew may have lost what it had retained.
/// </summary>
internal sealed class StateFeed(ForwardContext context, Outbox outbox)
{
    /// <summary>A state that was refused for now is told again after so long, if it was not told anew before.</summary>
    public static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(60);

    private readonly Dictionary<string, DeviceNotice> refused = [];
    private readonly HashSet<string> told = [];
    private IReadOnlyList<DeviceState> round = context.Board.Snapshot();
    private int roundNext;
    private long refusedAt;

    /// <summary>Messages of states in flight or about to be.</summary>
    public int InFlight { get; private set; }

    /// <summary>Queues the next state's messages; false if there is none.</summary>
    public bool TryTake()
    {
        // Before what is newer on the board: the device may be back since.
        if (context.ForgottenAgain.TryDequeue(out DeviceNotice forgotten))
        {
            if (!round.Any(s => s.DeviceId == forgotten.State.DeviceId))
                Queue(forgotten, isChange: false);
            return true;
        }

        if (context.Board.TryTake(out DeviceNotice change))
        {
            // The round passes the device over from now on: so all of it is told here, whatever half of it changed.
            if (round.Count > 0 && told.Add(change.State.DeviceId) && !change.IsForgotten)
                change = change with { StatusChanged = true, MetaChanged = change.State.Channels is not null };
            bool all = change.IsForgotten;
            Queue(
                change with { StatusChanged = all || change.StatusChanged, MetaChanged = all || change.MetaChanged },
                isChange: true);
            return true;
        }

        while (roundNext < round.Count)
        {
            DeviceState state = round[roundNext++];
            // What was told on this link is newer than the round.
            if (!told.Add(state.DeviceId))
                continue;
            bool hasMeta = state.Channels is not null;
            Queue(new DeviceNotice(state, StatusChanged: true, MetaChanged: hasMeta), isChange: false);
            return true;
        }

        EndRound();
        return false;
    }

    /// <summary>Leaves out what did not change: there is no time.</summary>
    public void EndRound()
    {
        if (round.Count == 0)
            return;
        round = [];
        told.Clear();
        told.TrimExcess();
    }

    public void Answered(in DeviceNotice notice, Verdict verdict)
    {
        InFlight--;
        if (verdict != Verdict.RetryLater)
            return;
        if (refused.Count == 0)
            refusedAt = context.Time.GetTimestamp();
        refused[notice.State.DeviceId] = refused.TryGetValue(notice.State.DeviceId, out DeviceNotice earlier)
            ? Both(notice, earlier)
            : notice;
    }

    /// <summary>Time until refused states go back to the board; null if there are none.</summary>
    public TimeSpan? UntilRetry() => refused.Count == 0 ? null : RetryAfter - context.Time.GetElapsedTime(refusedAt);

    public void RetryIfDue()
    {
        if (UntilRetry() is not { } left || left > TimeSpan.Zero)
            return;
        foreach (DeviceNotice notice in refused.Values)
        {
            context.Board.Return(notice);
        }

        refused.Clear();
    }

    private static DeviceNotice Both(in DeviceNotice newer, in DeviceNotice older) => newer with
    {
        StatusChanged = newer.StatusChanged || older.StatusChanged,
        MetaChanged = newer.MetaChanged || older.MetaChanged,
    };

    private void Queue(in DeviceNotice notice, bool isChange)
    {
        string deviceId = notice.State.DeviceId;
        // Each message carries its own half of the notice, so that what is refused alone is told again alone.
        // An empty retained message takes the retained one away (MQTT 5, section 3.3.1.3).
        if (notice.StatusChanged)
        {
            byte[] payload = notice.IsForgotten ? [] : StatusPayloads.DeviceStatus(notice.State);
            Queue(context.Topics.Status(deviceId), payload, notice with { MetaChanged = false }, isChange);
        }

        if (notice.MetaChanged)
        {
            byte[] payload = notice.IsForgotten ? [] : StatusPayloads.DeviceMeta(notice.State);
            Queue(context.Topics.Meta(deviceId), payload, notice with { StatusChanged = false }, isChange);
        }
    }

    private void Queue(string topic, byte[] payload, DeviceNotice notice, bool isChange)
    {
        if (!isChange && context.MutedTopics.Contains(topic))
            return;
        Publication publication = outbox.Rent(topic);
        outbox.Append(publication, payload);
        publication.IsRetained = true;
        publication.Notice = notice;
        outbox.Enqueue(publication);
        InFlight++;
    }
}
