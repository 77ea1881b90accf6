using System.Security.Cryptography;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Keys;

/// <summary>
/// The keys in force: read from the file, and again within a second of its change. While the file is damaged nobody gets
/// in: every id then has a key that nobody knows. Safe for several threads.
/// </summary>
internal sealed partial class KeyRing(string path, TimeProvider time, ILogger logger) : IDisposable
{
    private static readonly TimeSpan CheckInterval = TimeSpan.FromMilliseconds(500);

    private readonly KeyFile file = new(path);
    private readonly Lock gate = new();
    private readonly byte[] nobodysKey = RandomNumberGenerator.GetBytes(32);
    private Dictionary<string, byte[]>? keys = [];
    private (DateTime Written, long Bytes) seen;
    private string lastProblem = "";
    private ITimer? timer;

    /// <summary>The file was read anew: ids whose key went or changed.</summary>
    public event Action<IReadOnlySet<string>>? Changed;

    /// <summary>Devices with a key; 0 while the file is damaged.</summary>
    public int Count => Volatile.Read(ref keys)?.Count ?? 0;

    /// <summary>Whether the file is in order.</summary>
    public bool IsReadable => Volatile.Read(ref keys) is not null;

    /// <summary>Reads the file and goes on watching it.</summary>
    public void Start()
    {
        Reload(force: true);
        timer = time.CreateTimer(_ => Reload(force: false), null, CheckInterval, CheckInterval);
    }

    /// <summary>The key of a device; null if it has none.</summary>
    public byte[]? Find(string id)
    {
        Dictionary<string, byte[]>? current = Volatile.Read(ref keys);
        return current is null ? nobodysKey : current.GetValueOrDefault(id);
    }

    /// <summary>Reads the file again if it has changed, or in any case.</summary>
    public void Reload(bool force)
    {
        HashSet<string> changed;
        lock (gate)
        {
            (DateTime, long) now = Look();
            if (!force && now == seen)
                return;
            Dictionary<string, byte[]>? before = keys;
            Dictionary<string, byte[]>? after = ReadNeedsLock();
            // What could not be read is read again next time, changed or not: perhaps no descriptor was free.
            seen = after is null ? (DateTime.MaxValue, 0) : now;
            // A key that went or changed ends the sessions that used it; one that is new, those that came without proof.
            IEnumerable<string> ids = (before ?? []).Keys.Union((after ?? []).Keys);
            changed = [.. ids.Where(id => !KeysAreEqual(before?.GetValueOrDefault(id), after?.GetValueOrDefault(id)))];
            Volatile.Write(ref keys, after);
        }

        if (changed.Count > 0)
            Changed?.Invoke(changed);
    }

    /// <inheritdoc/>
    public void Dispose() => timer?.Dispose();

    private static bool KeysAreEqual(byte[]? one, byte[]? other) =>
        one is not null && other is not null && CryptographicOperations.FixedTimeEquals(one, other);

    private (DateTime Written, long Bytes) Look()
    {
        var info = new FileInfo(path);
        return info.Exists ? (info.LastWriteTimeUtc, info.Length) : default;
    }

    private Dictionary<string, byte[]>? ReadNeedsLock()
    {
        try
        {
            var read = file.Read().ToDictionary(d => d.Id, d => d.Key);
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
        const UnixFileMode others = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;
        if (File.Exists(path) && (File.GetUnixFileMode(path) & others) != 0)
            LogReadableByOthers(logger, path);
    }

    [LoggerMessage(1501, LogLevel.Information, "device keys read from {Path}: {Count} devices")]
    private static partial void LogRead(ILogger logger, string path, int count);

    [LoggerMessage(1502, LogLevel.Critical, "no device can get in: {Why}")]
    private static partial void LogDamaged(ILogger logger, string why);

    [LoggerMessage(1503, LogLevel.Warning, "{Path} can be read or written by others: set its mode to 0600")]
    private static partial void LogReadableByOthers(ILogger logger, string path);
}
