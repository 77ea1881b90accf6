namespace IotTcpGateway.Buffer;

/// <summary>What is known of a device now, for its retained topics. Immutable.</summary>
/// <param name="DeviceId">The device.</param>
/// <param name="IsOnline">Whether it has a session.</param>
/// <param name="Reason">Why it is offline: "bye", "idle", "lost", "protocol-error", "shutting-down"…; empty when online.</param>
/// <param name="Firmware">What HELLO said.</param>
/// <param name="Address">Address of the connection.</param>
/// <param name="SinceUnixMilliseconds">When the state began; 0 if the clock was not synchronised.</param>
/// <param name="Channels">Null until the newest connection described some.</param>
internal sealed record DeviceState(
    string DeviceId,
    bool IsOnline,
    string Reason,
    string Firmware,
    string Address,
    long SinceUnixMilliseconds,
    ChannelTable? Channels);

/// <summary>A change to publish.</summary>
internal readonly record struct DeviceNotice(DeviceState State, bool StatusChanged, bool MetaChanged);

/// <summary>
/// The latest state of every device, and which of them the broker has not been told of yet. A newer state replaces an
/// older one that was not published, so it is bounded by the number of devices. Safe for several threads.
/// </summary>
internal sealed class DeviceBoard
{
    private readonly Lock gate = new();
    private readonly Dictionary<string, Entry> entries = [];
    private readonly Queue<Entry> changed = new();
    private TaskCompletionSource? taker;

    /// <summary>Devices with a session.</summary>
    public int OnlineCount { get; private set; }

    /// <summary>Sets a device's status; keeps its channels unless it came online anew.</summary>
    public void SetStatus(DeviceState state)
    {
        TaskCompletionSource? wake;
        lock (gate)
        {
            Entry entry = EntryOf(state.DeviceId);
            OnlineCount += (state.IsOnline ? 1 : 0) - (entry.State is { IsOnline: true } ? 1 : 0);
            entry.State = state with { Channels = entry.State?.Channels };
            entry.StatusChanged = true;
            wake = QueueNeedsLock(entry);
        }

        wake?.TrySetResult();
    }

    /// <summary>Sets a device's channels, after each DESCRIBE of its newest connection.</summary>
    public void SetChannels(string deviceId, ChannelTable channels)
    {
        TaskCompletionSource? wake;
        lock (gate)
        {
            Entry entry = EntryOf(deviceId);
            if (entry.State is null)
                return;
            entry.State = entry.State with { Channels = channels };
            entry.MetaChanged = true;
            wake = QueueNeedsLock(entry);
        }

        wake?.TrySetResult();
    }

    /// <summary>The states of all devices known.</summary>
    public IReadOnlyList<DeviceState> Snapshot()
    {
        lock (gate)
            return [.. entries.Values.Where(e => e.State is not null).Select(e => e.State!)];
    }

    /// <summary>The next change to publish.</summary>
    public bool TryTake(out DeviceNotice notice)
    {
        lock (gate)
        {
            notice = default;
            if (!changed.TryDequeue(out Entry? entry))
                return false;
            notice = new DeviceNotice(entry.State!, entry.StatusChanged, entry.MetaChanged);
            entry.IsQueued = entry.StatusChanged = entry.MetaChanged = false;
            return true;
        }
    }

    /// <summary>A change taken was not confirmed by the broker: it is to be published again, in its newest form.</summary>
    public void Return(in DeviceNotice notice)
    {
        TaskCompletionSource? wake;
        lock (gate)
        {
            Entry entry = EntryOf(notice.State.DeviceId);
            entry.StatusChanged |= notice.StatusChanged;
            entry.MetaChanged |= notice.MetaChanged;
            wake = QueueNeedsLock(entry);
        }

        wake?.TrySetResult();
    }

    /// <summary>Completes when a change may be there to take. For one waiter.</summary>
    public Task WaitToTakeAsync()
    {
        lock (gate)
        {
            if (changed.Count > 0)
                return Task.CompletedTask;
            taker ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return taker.Task;
        }
    }

    private Entry EntryOf(string deviceId)
    {
        if (!entries.TryGetValue(deviceId, out Entry? entry))
            entries.Add(deviceId, entry = new Entry());
        return entry;
    }

    private TaskCompletionSource? QueueNeedsLock(Entry entry)
    {
        if (!entry.IsQueued)
        {
            entry.IsQueued = true;
            changed.Enqueue(entry);
        }

        TaskCompletionSource? wake = taker;
        taker = null;
        return wake;
    }

    private sealed class Entry
    {
        public DeviceState? State { get; set; }

        public bool StatusChanged { get; set; }

        public bool MetaChanged { get; set; }

        public bool IsQueued { get; set; }
    }
}
