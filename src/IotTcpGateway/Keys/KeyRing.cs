using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Keys;

/// <summary>
/// The devices in force: read from the file, and again within a second of its change. While the file is damaged, or gone
/// that was there, nobody gets in: every id then is a revoked one. Safe for several threads.
/// </summary>
internal sealed partial class KeyRing(string path, TimeProvider time, ILogger logger) : IDisposable
{
    private static readonly TimeSpan CheckInterval = TimeSpan.FromMilliseconds(500);

    private readonly KeyFile file = new(path);
    private readonly Lock gate = new();
    private readonly DeviceEntry nobody = new() { Id = "", Added = DateTimeOffset.MinValue, Revoked = DateTimeOffset.MinValue };
    private Dictionary<string, DeviceEntry>? devices = [];
    private (DateTime Written, long Bytes) seen;
    private DateTimeOffset formerKeyEnds = DateTimeOffset.MaxValue;
    private bool wasThere;
    private int count;
    private string lastProblem = "";
    private ITimer? timer;

    /// <summary>The file was read anew: ids of which it says something else now.</summary>
    public event Action<IReadOnlySet<string>>? Changed;

    /// <summary>Devices that are not revoked; 0 while the file is damaged.</summary>
    public int Count => Volatile.Read(ref count);

    /// <summary>Whether the file is in order.</summary>
    public bool IsReadable => Volatile.Read(ref devices) is not null;

    /// <summary>Reads the file and goes on watching it.</summary>
    public void Start()
    {
        Reload(force: true);
        timer = time.CreateTimer(_ => Reload(force: false), null, CheckInterval, CheckInterval);
    }

    /// <summary>What the file says of a device; null if nothing.</summary>
    public DeviceEntry? Find(string id)
    {
        Dictionary<string, DeviceEntry>? current = Volatile.Read(ref devices);
        return current is null ? nobody : current.GetValueOrDefault(id);
    }

    /// <summary>Reads the file again if it has changed, or in any case.</summary>
    public void Reload(bool force)
    {
        HashSet<string> changed;
        bool isOther;
        lock (gate)
        {
            (DateTime, long) now = Look();
            if (!force && now == seen && time.GetUtcNow() < formerKeyEnds)
                return;
            Dictionary<string, DeviceEntry>? before = devices;
            Dictionary<string, DeviceEntry>? after = ReadNeedsLock();
            // What could not be read is read again next time, changed or not: perhaps no descriptor was free.
            seen = after is null ? (DateTime.MaxValue, 0) : now;
            // A key that went or changed ends the sessions that used it; one that is new, those that came without proof.
            IEnumerable<string> ids = (before ?? []).Keys.Union((after ?? []).Keys);
            isOther = before is null != (after is null);
            changed = [.. ids.Where(id => !AreSame(before?.GetValueOrDefault(id), after?.GetValueOrDefault(id)))];
            Volatile.Write(ref devices, after);
            Volatile.Write(ref count, after?.Values.Count(d => d.Revoked is null) ?? 0);
        }

        // From or to a file that cannot be read it is everybody.
        if (changed.Count > 0 || isOther)
            Changed?.Invoke(changed);
    }

    /// <inheritdoc/>
    public void Dispose() => timer?.Dispose();

    private static bool AreSame(DeviceEntry? one, DeviceEntry? other) =>
        one is null || other is null ? ReferenceEquals(one, other) : one.IsSameAs(other);

    private (DateTime Written, long Bytes) Look()
    {
        var info = new FileInfo(path);
        return info.Exists ? (info.LastWriteTimeUtc, info.Length) : default;
    }

    private Dictionary<string, DeviceEntry>? ReadNeedsLock()
    {
        try
        {
            bool isThere = File.Exists(path);
            if (wasThere && !isThere)
                throw new KeyFileException($"{path} is gone: restore it from a backup, or add the devices anew");
            DateTimeOffset now = time.GetUtcNow();
            var read = file.Read().ToDictionary(d => d.Id, d => d.At(now));
            formerKeyEnds = read.Values.Min(d => d.Former?.Until) ?? DateTimeOffset.MaxValue;
            wasThere = isThere;
            LogRead(logger, path, read.Count);
            WarnOfOthers();
            lastProblem = "";
            return read;
        }
        catch (Exception e) when (e is KeyFileException or IOException or UnauthorizedAccessException)
        {
            if (e.Message != lastProblem)
                LogDamaged(logger, e.Message);
            lastProblem = e.Message;
            return null;
        }
    }

    private void WarnOfOthers()
    {
        const UnixFileMode others = UnixFileMode.GroupRead | UnixFileMode.OtherRead;
        if (!wasThere)
            LogMissing(logger, path);
        else if ((File.GetUnixFileMode(path) & others) != 0)
            LogReadableByOthers(logger, path);
    }

    [LoggerMessage(1501, LogLevel.Information, "device keys read from {Path}: {Count} devices")]
    private static partial void LogRead(ILogger logger, string path, int count);

    [LoggerMessage(1502, LogLevel.Critical, "no device can get in: {Why}")]
    private static partial void LogDamaged(ILogger logger, string why);

    [LoggerMessage(1503, LogLevel.Warning, "{Path} can be read by others: set its mode to 0600")]
    private static partial void LogReadableByOthers(ILogger logger, string path);

    [LoggerMessage(1504, LogLevel.Warning,
        "there is no device key file {Path}: no device has a key; \"iotgw device add ID\" gives one")]
    private static partial void LogMissing(ILogger logger, string path);
}
