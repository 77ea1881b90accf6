using IotTcpGateway.Buffer;

namespace IotTcpGateway.Ingest;

/// <summary>What the gateway remembers of a device between its connections.</summary>
internal sealed class Device(string id, TimeProvider time)
{
    public string Id { get; } = id;

    /// <summary>The session that speaks for it now.</summary>
    public Session? Session { get; set; }

    /// <summary>Its last boots, the newest last.</summary>
    public List<DeviceStream> Streams { get; } = new(1);

    public TokenBucket Frames { get; } = new(time);

    public long LastSeen { get; set; } = time.GetTimestamp();

    /// <summary>Whether it authenticated; if not, it is forgotten after a while.</summary>
    public bool IsKnown { get; set; }
}

/// <summary>All devices by id. Bounded by maxDevices. Safe for several threads.</summary>
internal sealed class DeviceRegistry(DevicesOptions options, RecordBuffer buffer, TimeProvider time)
{
    /// <summary>Boots of a device that are remembered.</summary>
    public const int BootsMax = 4;

    private static readonly TimeSpan UnknownForgottenAfter = TimeSpan.FromDays(7);

    private readonly Lock gate = new();
    private readonly Dictionary<string, Device> devices = [];

    public int Count
    {
        get
        {
            lock (gate)
                return devices.Count;
        }
    }

    /// <summary>
    /// The device of this id, made if there is room for it; null if not. An unauthenticated connection gets none of a
    /// device that has an authenticated session: <paramref name="isDisplaced"/> says so.
    /// </summary>
    public Device? Claim(string id, Session claimant, out Session? older, out bool isDisplaced)
    {
        lock (gate)
        {
            older = null;
            isDisplaced = false;
            if (!devices.TryGetValue(id, out Device? device))
            {
                if (devices.Count >= options.MaxDevices)
                    return null;
                devices.Add(id, device = new Device(id, time));
            }

            if (device.Session is { IsAuthenticated: true } && !claimant.IsAuthenticated)
            {
                isDisplaced = true;
                return null;
            }

            older = device.Session;
            device.Session = claimant;
            device.LastSeen = time.GetTimestamp();
            device.IsKnown |= claimant.IsAuthenticated;
            return device;
        }
    }

    /// <summary>The session that speaks for a device now.</summary>
    public Session? SessionOf(string id)
    {
        lock (gate)
            return devices.GetValueOrDefault(id)?.Session;
    }

    /// <summary>Highest sequence taken under a boot id; 0 if there is no memory of it.</summary>
    public uint HighestTaken(string id, uint bootId)
    {
        lock (gate)
            return devices.GetValueOrDefault(id)?.Streams.Find(s => s.BootId == bootId)?.HighestTaken ?? 0;
    }

    /// <summary>The stream of a boot, made if it is new; the oldest of more than four is forgotten.</summary>
    public DeviceStream StreamOf(Device device, uint bootId)
    {
        lock (gate)
        {
            DeviceStream? stream = device.Streams.Find(s => s.BootId == bootId);
            if (stream is not null)
                return stream;
            if (device.Streams.Count == BootsMax)
            {
                buffer.Forget(device.Streams[0]);
                device.Streams.RemoveAt(0);
            }

            stream = buffer.Open(device.Id, bootId);
            device.Streams.Add(stream);
            return stream;
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

    /// <summary>Forgets devices that never authenticated and were not seen for seven days.</summary>
    public void ForgetUnseen()
    {
        lock (gate)
        {
            foreach (Device device in devices.Values.Where(IsForgettable).ToList())
            {
                devices.Remove(device.Id);
                foreach (DeviceStream stream in device.Streams)
                    buffer.Forget(stream);
            }
        }

        bool IsForgettable(Device device) =>
            device is { IsKnown: false, Session: null } && time.GetElapsedTime(device.LastSeen) > UnknownForgottenAfter;
    }
}
