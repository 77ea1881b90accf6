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
/// <param name="State">The newest state.</param>
/// <param name="StatusChanged">Whether the status topic is out of date.</param>
/// <param name="MetaChanged">Whether the meta topic is out of date.</param>
/// <param name="IsForgotten">The device was forgotten: its retained topics are to be emptied.</param>
internal readonly record struct DeviceNotice(DeviceState State, bool StatusChanged, bool MetaChanged, bool IsForgotten = false);

/// <summary>
/// The latest state of every device, and which of them the broker has not been told of yet. A newer state replaces an
/// older one that was not published, so it is bounded by the number of devices. Safe for several threads.
/// </summary>
internal sealed class DeviceBoard
{
    private readonly Lock gate = new();
    private readonly Dictionary<string, Entry> entries = [];
    private readonly Queue<Entry> changed = new();

    /// <summary>A change may be there to take; called outside the lock, must return at once.</summary>
    public event Action? Changed;

    /// <summary>Devices with a session.</summary>
    public int OnlineCount { get; private set; }

    /// <summary>Sets a device's status; keeps its channels unless it came online anew.</summary>
    public void SetStatus(DeviceState state)
    {
        lock (gate)
        {
            Entry entry = EntryOf(state.DeviceId);
            OnlineCount += (state.IsOnline ? 1 : 0) - (entry.State is { IsOnline: true } ? 1 : 0);
            entry.State = state with { Channels = entry.State?.Channels };
            entry.StatusChanged = true;
            QueueNeedsLock(entry);
        }

        Changed?.Invoke();
    }

    /// <summary>Sets a device's channels, after each DESCRIBE of its newest connection.</summary>
    public void SetChannels(string deviceId, ChannelTable channels)
    {
        lock (gate)
        {
            Entry entry = EntryOf(deviceId);
            if (entry.State is null)
                return;
            entry.State = entry.State with { Channels = channels };
            entry.MetaChanged = true;
            QueueNeedsLock(entry);
        }

        Changed?.Invoke();
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
        lock (gate)
        {
            Entry entry = EntryOf(notice.State.DeviceId);
            entry.StatusChanged |= notice.StatusChanged;
            entry.MetaChanged |= notice.MetaChanged;
            QueueNeedsLock(entry);
        }

        Changed?.Invoke();
    }

    private Entry EntryOf(string deviceId)
    {
        if (!entries.TryGetValue(deviceId, out Entry? entry))
            entries.Add(deviceId, entry = new Entry());
        return entry;
    }

    private void QueueNeedsLock(Entry entry)
    {
        if (entry.IsQueued)
            return;
        entry.IsQueued = true;
        changed.Enqueue(entry);
    }

    private sealed class Entry
    {
        public DeviceState? State { get; set; }

        public bool StatusChanged { get; set; }

        public bool MetaChanged { get; set; }

        public bool IsQueued { get; set; }
    }
}
