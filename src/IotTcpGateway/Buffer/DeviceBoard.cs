namespace IotTcpGateway.Buffer;

/// <summary>What is known of a device now, for its retained topics. Immutable.</summary>
/// <param name="DeviceId">The device.</param>
/// <param name="IsOnline">Whether it has a session.</param>
/// <param name="Reason">
/// Why it is offline: "bye", "idle", "lost", "protocol-error", "shutting-down"…; empty when online.
/// </param>
/// <param name="Firmware">What HELLO said.</param>
/// <param name="Address">Address of the connection.</param>
/// <param name="SinceUnixMilliseconds">When the state began; 0 if the clock was not synchronised.</param>
/// <param name="Channels">As last described; null if never.</param>
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
internal readonly record struct DeviceNotice(
    DeviceState State, bool StatusChanged, bool MetaChanged, bool IsForgotten = false);

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

    /// <summary>Sets a device's status; its channels stay as they are.</summary>
    /// <param name="state">The state; its channels are not looked at.</param>
    /// <param name="turn">
    /// Grows with each session of a device: a session that was replaced, and says so late, is not listened to.
    /// </param>
    public void SetStatus(DeviceState state, long turn = 0)
    {
        lock (gate)
        {
            if (!entries.TryGetValue(state.DeviceId, out Entry? entry))
                entries.Add(state.DeviceId, entry = new Entry(state));
            else if (turn < entry.Turn)
                return;
            else
                entry.State = state with { Channels = entry.State.Channels };
            entry.Turn = turn;
            entry.IsForgotten = false;
            entry.StatusChanged = true;
            CountOnlineNeedsLock(entry, state.IsOnline);
            QueueNeedsLock(entry);
        }

        Changed?.Invoke();
    }

    /// <summary>Sets a device's channels, after each DESCRIBE of its newest connection.</summary>
    public void SetChannels(string deviceId, ChannelTable channels)
    {
        lock (gate)
        {
            if (!entries.TryGetValue(deviceId, out Entry? entry))
                return;
            entry.State = entry.State with { Channels = channels };
            entry.MetaChanged = true;
            QueueNeedsLock(entry);
        }

        Changed?.Invoke();
    }

    /// <summary>
    /// Forgets a device that is not online: its retained topics are to be emptied, then nothing is left of it.
    /// </summary>
    public void Forget(string deviceId)
    {
        lock (gate)
        {
            if (!entries.TryGetValue(deviceId, out Entry? entry) || entry.State.IsOnline)
                return;
            entry.IsForgotten = true;
            QueueNeedsLock(entry);
        }

        Changed?.Invoke();
    }

    /// <summary>Everything is to be published again: the link leads to a broker that may know nothing of it.</summary>
    public void PublishAll()
    {
        lock (gate)
        {
            foreach (Entry entry in entries.Values)
            {
                entry.StatusChanged = true;
                entry.MetaChanged = entry.State.Channels is not null;
                QueueNeedsLock(entry);
            }
        }

        Changed?.Invoke();
    }

    /// <summary>The states of all devices known.</summary>
    public IReadOnlyList<DeviceState> Snapshot()
    {
        lock (gate)
            return [.. entries.Values.Where(e => !e.IsForgotten).Select(e => e.State)];
    }

    /// <summary>The next change to publish.</summary>
    public bool TryTake(out DeviceNotice notice)
    {
        lock (gate)
        {
            notice = default;
            if (!changed.TryDequeue(out Entry? entry))
                return false;
            entry.IsQueued = false;
            if (entry.IsForgotten)
            {
                entries.Remove(entry.State.DeviceId);
                notice = new DeviceNotice(entry.State, StatusChanged: true, MetaChanged: true, IsForgotten: true);
                return true;
            }

            notice = new DeviceNotice(entry.State, entry.StatusChanged, entry.MetaChanged);
            entry.StatusChanged = entry.MetaChanged = false;
            return true;
        }
    }

    /// <summary>
    /// A change taken was not confirmed by the broker: it is to be published again, in its newest form.
    /// </summary>
    public void Return(in DeviceNotice notice)
    {
        lock (gate)
        {
            bool isThere = entries.TryGetValue(notice.State.DeviceId, out Entry? entry);
            if (notice.IsForgotten)
            {
                // If it is there it came back meanwhile, and what is published of it then takes the place of the old.
                if (isThere)
                    return;
                entries.Add(notice.State.DeviceId, entry = new Entry(notice.State) { IsForgotten = true });
            }
            else if (!isThere)
            {
                // It was forgotten meanwhile, and that was published or is about to be.
                return;
            }

            entry!.StatusChanged |= notice.StatusChanged;
            entry.MetaChanged |= notice.MetaChanged;
            QueueNeedsLock(entry);
        }

        Changed?.Invoke();
    }

    private void CountOnlineNeedsLock(Entry entry, bool isOnline)
    {
        OnlineCount += (isOnline ? 1 : 0) - (entry.IsCountedOnline ? 1 : 0);
        entry.IsCountedOnline = isOnline;
    }

    private void QueueNeedsLock(Entry entry)
    {
        if (entry.IsQueued)
            return;
        entry.IsQueued = true;
        changed.Enqueue(entry);
    }

    private sealed class Entry(DeviceState state)
    {
        public DeviceState State { get; set; } = state;

        public long Turn { get; set; }

        public bool StatusChanged { get; set; }

        public bool MetaChanged { get; set; }

        public bool IsForgotten { get; set; }

        public bool IsQueued { get; set; }

        public bool IsCountedOnline { get; set; }
    }
}
