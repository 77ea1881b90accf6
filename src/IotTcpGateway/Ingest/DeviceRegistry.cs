using IotTcpGateway.Buffer;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;
using IotTcpGateway.Time;

namespace IotTcpGateway.Ingest;

/// <summary>What the gateway remembers of a device between its connections.</summary>
internal sealed class Device(string id, TimeProvider time)
{
    public string Id { get; } = id;

    /// <summary>The session that speaks for it now.</summary>
    public Session? Session { get; set; }

    /// <summary>Its last boots, the one last used at the end.</summary>
    public List<DeviceStream> Streams { get; } = new(1);

    /// <summary>Used by the read loop of the session alone.</summary>
    public TokenBucket Frames { get; } = new(time);

    public long LastSeen { get; set; } = time.GetTimestamp();

    /// <summary>Whether the key file knows it. Of the registry.</summary>
    public bool IsKnown { get; set; }

    /// <summary>How its last session came; null if none did since the start.</summary>
    public SessionOrigin? Origin { get; set; }
}

/// <summary>What the key file knows.</summary>
/// <param name="Find">What it says of a device; null if nothing.</param>
/// <param name="Count">How many devices it lets in.</param>
internal sealed record KnownDevices(Func<string, DeviceEntry?> Find, Func<int> Count);

/// <summary>Whence a session came, and as what.</summary>
internal sealed record SessionOrigin(AuthenticationMode Mode, string Address, string Firmware);

/// <summary>A device that came since the start.</summary>
/// <param name="DeviceId">Its id.</param>
/// <param name="IsOnline">Whether a session speaks for it now.</param>
/// <param name="Mode">Of its last session.</param>
/// <param name="Address">Of its last session.</param>
/// <param name="Firmware">What it said of itself; raw text of the device.</param>
/// <param name="LastAt">Timestamp of when it was there last.</param>
internal readonly record struct DeviceSighting(
    string DeviceId, bool IsOnline, AuthenticationMode Mode, string Address, string Firmware, long LastAt);

/// <summary>
/// Whether a session may speak for a device; in the order in which the protocol has the reasons tell.
/// </summary>
internal enum ClaimResult
{
    Granted,

    /// <summary>It did not authenticate, and the device has a session that did.</summary>
    NotAllowed,

    /// <summary>The gateway has taken higher sequences under this boot id than the device says it used.</summary>
    BootIdReused,

    /// <summary>There are too many devices.</summary>
    NoRoom,
}

/// <summary>
/// All devices by id. Bounded by maxDevices, of which those in the key file have theirs for certain: the others share
/// what is left. Safe for several threads.
/// </summary>
/// <param name="options">Limits.</param>
/// <param name="known">Whom the key file knows.</param>
/// <param name="buffer">Has the custody.</param>
/// <param name="time">For how long a device was not seen.</param>
internal sealed class DeviceRegistry(DevicesOptions options, KnownDevices known, RecordBuffer buffer, TimeProvider time)
{
    /// <summary>Boots of a device that are remembered.</summary>
    public const int BootsMax = 4;

    private static readonly TimeSpan UnknownForgottenAfter = TimeSpan.FromDays(7);

    private readonly Lock gate = new();
    private readonly Dictionary<string, Device> devices = [];
    private long turns;

    // Of the devices, those that the key file does not know.
    private int guests;

    public int Count
    {
        get
        {
            lock (gate)
                return devices.Count;
        }
    }

    /// <summary>The devices that came since the start.</summary>
    public IReadOnlyList<DeviceSighting> Seen()
    {
        long now = time.GetTimestamp();
        lock (gate)
        {
            return
            [
                .. devices.Values.Where(d => d.Origin is not null).Select(d => new DeviceSighting(
                    d.Id, d.Session is not null, d.Origin!.Mode, d.Origin.Address, d.Origin.Firmware,
                    d.Session is not null ? now : d.LastSeen)),
            ];
        }
    }

    /// <summary>Whether a claim would be granted now, and by whom the device is spoken for.</summary>
    public ClaimResult Look(Session claimant, uint bootId, uint highestUsed, out Session? current)
    {
        lock (gate)
        {
            Device? device = devices.GetValueOrDefault(claimant.DeviceId);
            current = device?.Session;
            return JudgeNeedsLock(device, claimant, bootId, highestUsed);
        }
    }

    /// <summary>Lets a session speak for its device, in place of an older one.</summary>
    /// <param name="claimant">The session.</param>
    /// <param name="bootId">Of its HELLO.</param>
    /// <param name="highestUsed">Of its HELLO.</param>
    /// <param name="device">The device, made if it is new; null unless granted.</param>
    /// <param name="older">The session that spoke for it; it is to stop reading first.</param>
    /// <param name="turn">Grows with every claim.</param>
    public ClaimResult Claim(
        Session claimant, uint bootId, uint highestUsed, out Device? device, out Session? older, out long turn)
    {
        lock (gate)
        {
            devices.TryGetValue(claimant.DeviceId, out device);
            older = device?.Session;
            turn = ++turns;
            ClaimResult result = JudgeNeedsLock(device, claimant, bootId, highestUsed);
            if (result != ClaimResult.Granted)
            {
                device = null;
                return result;
            }

            if (device is null)
                device = AddNeedsLock(claimant.DeviceId);
            device.Session = claimant;
            device.Origin = claimant.Origin;
            device.LastSeen = time.GetTimestamp();
            return result;
        }
    }

    /// <summary>
    /// The stream of a boot, made if it is new; the one longest unused of more than four is forgotten.
    /// </summary>
    public DeviceStream StreamOf(Device device, uint bootId, int priority)
    {
        lock (gate)
        {
            DeviceStream? stream = device.Streams.Find(s => s.BootId == bootId);
            if (stream is not null)
            {
                device.Streams.Remove(stream);
            }
            else
            {
                stream = buffer.Open(device.Id, bootId, priority);
                if (device.Streams.Count == BootsMax)
                {
                    buffer.Forget(device.Streams[0]);
                    device.Streams.RemoveAt(0);
                }
            }

            device.Streams.Add(stream);
            return stream;
        }
    }

    /// <summary>Remembers a boot of which it is known from before the start what was safe.</summary>
    public void Restore(in CustodyEntry entry)
    {
        lock (gate)
        {
            if (!devices.TryGetValue(entry.DeviceId, out Device? device))
            {
                if (!HasRoomNeedsLock(entry.DeviceId))
                    return;
                device = AddNeedsLock(entry.DeviceId);
            }

            if (device.Streams.Count == BootsMax)
            {
                buffer.Forget(device.Streams[0]);
                device.Streams.RemoveAt(0);
            }

            device.Streams.Add(buffer.Restore(entry.DeviceId, entry.BootId, entry.Priority, entry.SafeSequence));
        }
    }

    /// <summary>Ends a session's hold; false if a newer one has taken its place.</summary>
    public bool Release(Device device, Session session)
    {
        lock (gate)
        {
            device.LastSeen = time.GetTimestamp();
            if (!ReferenceEquals(device.Session, session))
                return false;
            device.Session = null;
            return true;
        }
    }

    /// <summary>
    /// Forgets devices that have no key, or none any more, and were not seen for seven days; names them.
    /// </summary>
    public IReadOnlyList<string> ForgetUnseen(Func<string, bool> hasKey)
    {
        List<Device> unseen;
        lock (gate)
            unseen = [.. devices.Values.Where(IsUnseen)];
        unseen.RemoveAll(device => hasKey(device.Id));
        lock (gate)
        {
            unseen.RemoveAll(device => !IsUnseen(device));
            foreach (Device device in unseen)
            {
                devices.Remove(device.Id);
                guests -= device.IsKnown ? 0 : 1;
                foreach (DeviceStream stream in device.Streams)
                    buffer.Forget(stream);
            }
        }

        return [.. unseen.Select(device => device.Id)];

        bool IsUnseen(Device device) =>
            device.Session is null && time.GetElapsedTime(device.LastSeen) > UnknownForgottenAfter;
    }

    /// <summary>The key file says something else of these devices.</summary>
    public void KnownChanged(IEnumerable<string> deviceIds)
    {
        lock (gate)
        {
            foreach (string deviceId in deviceIds)
            {
                if (!devices.TryGetValue(deviceId, out Device? device))
                    continue;
                bool isKnown = known.Find(deviceId) is not null;
                guests += (device.IsKnown ? 1 : 0) - (isKnown ? 1 : 0);
                device.IsKnown = isKnown;
            }
        }
    }

    private Device AddNeedsLock(string deviceId)
    {
        var device = new Device(deviceId, time) { IsKnown = known.Find(deviceId) is not null };
        guests += device.IsKnown ? 0 : 1;
        devices.Add(deviceId, device);
        return device;
    }

    private bool HasRoomNeedsLock(string deviceId) => known.Find(deviceId) is not null
        ? devices.Count - guests < options.MaxDevices
        : guests < options.MaxDevices - known.Count();

    private ClaimResult JudgeNeedsLock(Device? device, Session claimant, uint bootId, uint highestUsed)
    {
        if (device is null)
            return HasRoomNeedsLock(claimant.DeviceId) ? ClaimResult.Granted : ClaimResult.NoRoom;
        if (device.Session is { IsAuthenticated: true } && !claimant.IsAuthenticated)
            return ClaimResult.NotAllowed;
        uint highestTaken = device.Streams.Find(s => s.BootId == bootId)?.HighestTaken ?? 0;
        return highestUsed < highestTaken ? ClaimResult.BootIdReused : ClaimResult.Granted;
    }
}
