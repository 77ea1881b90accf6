using System.Security.Cryptography;

using IotTcpGateway.Escaping;
using IotTcpGateway.Files;
using IotTcpGateway.Protocol;

using Microsoft.Win32.SafeHandles;

namespace IotTcpGateway.Keys;

/// <summary>The file cannot be used: what is wrong, where.</summary>
internal sealed class KeyFileException(string message) : Exception(message);

/// <summary>The devices and their keys in a JSON file that is replaced as a whole.</summary>
internal sealed class KeyFile(string path)
{
    // 10 000 devices with everything said of them are 5 MB.
    private const long BytesMax = 64 << 20;

    private const UnixFileMode WritableByOthers = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;

    /// <summary>Reads the file; a missing one is an empty one.</summary>
    /// <exception cref="KeyFileException">It is damaged, cannot be read, or could have been written by anybody.</exception>
    public IReadOnlyList<DeviceEntry> Read()
    {
        try
        {
            var info = new FileInfo(path);
            if (!info.Exists)
                return [];
            if ((info.UnixFileMode & WritableByOthers) != 0)
                throw new KeyFileException($"{path} can be written by others: look who did, then set its mode to 0600");
            if (info.Length > BytesMax)
                throw new KeyFileException($"{path} is damaged (it has {info.Length} bytes): restore it from a backup");
            return KeyFileFormat.Parse(File.ReadAllBytes(path));
        }
        catch (KeyFileFormatException e)
        {
            throw new KeyFileException($"{path} is damaged ({SafeText.Clean(e.Message)}): restore it from a backup");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new KeyFileException($"{path} cannot be read: {e.Message}");
        }
    }

    /// <summary>Adds a device with a new key, in the place of a revoked one too; returns it.</summary>
    /// <exception cref="KeyFileException">The id exists, or the file cannot be used.</exception>
    public byte[] Add(string id, DateTimeOffset now) => Add(id, DeviceMode.Hmac, DevicePermissions.Unlimited, now)!;

    /// <summary>Adds a device, in the place of a revoked one too; returns its key, if it is to have one.</summary>
    /// <exception cref="KeyFileException">The id exists, or the file cannot be used.</exception>
    public byte[]? Add(string id, DeviceMode mode, DevicePermissions permissions, DateTimeOffset now) => Change(devices =>
    {
        if (devices.Exists(d => d.Id == id && d.Revoked is null))
            throw new KeyFileException($"device {id} exists already: give it a new key with \"iotgw device rotate {id}\"");
        devices.RemoveAll(d => d.Id == id);
        devices.Add(New(id, mode, now) with { Permissions = permissions });
        return devices[^1].Key;
    });

    /// <summary>Adds many devices in one go; returns them with their new keys.</summary>
    /// <exception cref="KeyFileException">An id exists, or the file cannot be used.</exception>
    public IReadOnlyList<DeviceEntry> AddAll(IReadOnlyCollection<string> ids, DateTimeOffset now) => ids.Count == 0
        ? []
        : Change<IReadOnlyList<DeviceEntry>>(devices =>
        {
            if (devices.Find(d => ids.Contains(d.Id)) is { } existing)
                throw new KeyFileException($"device {existing.Id} exists already");
            List<DeviceEntry> added = [.. ids.Select(id => New(id, DeviceMode.Hmac, now))];
            devices.AddRange(added);
            return added;
        });

    /// <summary>
    /// Takes a device's key away, and keeps its id: it gets in on no listener, in no mode, until it is added again.
    /// </summary>
    /// <exception cref="KeyFileException">There is no such device, or the file cannot be used.</exception>
    public void Revoke(string id, DateTimeOffset now) => Replace(id, device => device with
    {
        Key = null,
        Former = null,
        Revoked = device.Revoked ?? now,
    });

    /// <summary>Removes what is said of a device: it is one that nobody knows.</summary>
    /// <exception cref="KeyFileException">There is no such device, or the file cannot be used.</exception>
    public void Forget(string id) => Change(devices => devices.RemoveAt(IndexOf(devices, id)));

    /// <summary>Gives a device a new key and returns it; the old one works beside it for a while.</summary>
    /// <param name="id">The device.</param>
    /// <param name="overlap">How long both work; nothing ends the old one at once.</param>
    /// <param name="now">The wall clock.</param>
    /// <exception cref="KeyFileException">There is no such device with a key, or the file cannot be used.</exception>
    public byte[] Rotate(string id, TimeSpan overlap, DateTimeOffset now)
    {
        byte[] key = NewKey();
        Replace(id, device => device with
        {
            Key = device.Key is not null ? key : throw NoKey(device),
            Former = overlap > TimeSpan.Zero ? new FormerKey(device.Key, now + overlap) : null,
        });
        return key;
    }

    /// <summary>Ends the overlap of a rotation: only the new key works.</summary>
    /// <exception cref="KeyFileException">There is no such device, or the file cannot be used.</exception>
    public void EndOverlap(string id) => Replace(id, device => device with { Former = null });

    /// <summary>Changes what a device may do.</summary>
    /// <exception cref="KeyFileException">There is no such device, or the file cannot be used.</exception>
    public void Permit(string id, Func<DevicePermissions, DevicePermissions> change) =>
        Replace(id, device => device with { Permissions = change(device.Permissions) });

    private static KeyFileException NoKey(DeviceEntry device) => new(device.Revoked is not null
        ? $"device {device.Id} is revoked: \"iotgw device add {device.Id}\" lets it in again"
        : $"device {device.Id} shows who it is without a key: there is none to change");

    private static int IndexOf(List<DeviceEntry> devices, string id)
    {
        int index = devices.FindIndex(d => d.Id == id);
        return index >= 0
            ? index
            : throw new KeyFileException($"there is no device {id}: \"iotgw device list\" shows those that there are");
    }

    private static DeviceEntry New(string id, DeviceMode mode, DateTimeOffset now) => new()
    {
        Id = id,
        Mode = mode,
        Key = mode == DeviceMode.Hmac ? NewKey() : null,
        Added = now,
    };

    private static byte[] NewKey() => RandomNumberGenerator.GetBytes(ProtocolConstants.KeyBytes);

    private void Replace(string id, Func<DeviceEntry, DeviceEntry> change) => Change(devices =>
    {
        int index = IndexOf(devices, id);
        devices[index] = change(devices[index]);
    });

    private void Change(Action<List<DeviceEntry>> change) => Change(devices =>
    {
        change(devices);
        return true;
    });

    private T Change<T>(Func<List<DeviceEntry>, T> change)
    {
        try
        {
            // Two commands at once must not undo each other's change.
            AtomicFile.MakeDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            using SafeFileHandle exclusive = FileLock.Take(path + ".lock");
            List<DeviceEntry> devices = [.. Read()];
            T result = change(devices);
            AtomicFile.Write(path, KeyFileFormat.Format(devices));
            return result;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new KeyFileException($"{path} cannot be changed: {e.Message}");
        }
    }
}
