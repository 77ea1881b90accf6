using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

using IotTcpGateway.Files;
using IotTcpGateway.Protocol;

using Microsoft.Win32.SafeHandles;

namespace IotTcpGateway.Keys;

/// <summary>A device with its key.</summary>
internal sealed record DeviceKey(string Id, byte[] Key, string Added);

/// <summary>The file cannot be used: what is wrong, where.</summary>
internal sealed class KeyFileException(string message) : Exception(message);

/// <summary>The devices' keys in a JSON file that is replaced as a whole: <c>{"devices":[{"id":…,"key":…,"added":…}]}</c>.</summary>
internal sealed class KeyFile(string path)
{
    /// <summary>Reads the file; a missing one is an empty one.</summary>
    /// <exception cref="KeyFileException">It is damaged or cannot be read.</exception>
    public IReadOnlyList<DeviceKey> Read()
    {
        try
        {
            return File.Exists(path) ? Parse(File.ReadAllBytes(path)) : [];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new KeyFileException($"{path} cannot be read: {e.Message}");
        }
    }

    /// <summary>Adds a device; returns its new key.</summary>
    /// <exception cref="KeyFileException">The id exists, or the file cannot be used.</exception>
    public byte[] Add(string id, DateTimeOffset now) => Change(devices =>
    {
        if (devices.Exists(d => d.Id == id))
            throw new KeyFileException($"device {id} exists already: give it a new key with \"iotgw device rotate {id}\"");
        devices.Add(NewKey(id, now));
        return devices[^1].Key;
    });

    /// <summary>Adds many devices in one go; returns them with their new keys.</summary>
    /// <exception cref="KeyFileException">An id exists, or the file cannot be used.</exception>
    public IReadOnlyList<DeviceKey> AddAll(IReadOnlyCollection<string> ids, DateTimeOffset now) => ids.Count == 0
        ? []
        : Change<IReadOnlyList<DeviceKey>>(devices =>
        {
            if (devices.Find(d => ids.Contains(d.Id)) is { } existing)
                throw new KeyFileException($"device {existing.Id} exists already");
            List<DeviceKey> added = [.. ids.Select(id => NewKey(id, now))];
            devices.AddRange(added);
            return added;
        });

    /// <summary>Removes a device.</summary>
    /// <exception cref="KeyFileException">There is no such device, or the file cannot be used.</exception>
    public void Revoke(string id) => Change(devices => devices.RemoveAt(IndexOf(devices, id)));

    /// <summary>Gives a device a new key and returns it; the old one is worth nothing from then on.</summary>
    /// <exception cref="KeyFileException">There is no such device, or the file cannot be used.</exception>
    public byte[] Rotate(string id, DateTimeOffset now) => Change(devices =>
    {
        int index = IndexOf(devices, id);
        devices[index] = NewKey(id, now);
        return devices[index].Key;
    });

    private static int IndexOf(List<DeviceKey> devices, string id)
    {
        int index = devices.FindIndex(d => d.Id == id);
        return index >= 0
            ? index
            : throw new KeyFileException($"there is no device {id}: \"iotgw device list\" shows those that there are");
    }

    private static DeviceKey NewKey(string id, DateTimeOffset now) => new(
        id,
        RandomNumberGenerator.GetBytes(ProtocolConstants.KeyBytes),
        now.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture));

    private void Change(Action<List<DeviceKey>> change) => Change(devices =>
    {
        change(devices);
        return true;
    });

    private T Change<T>(Func<List<DeviceKey>, T> change)
    {
        try
        {
            // Two commands at once must not undo each other's change.
            AtomicFile.MakeDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
            using SafeFileHandle exclusive = FileLock.Take(path + ".lock");
            List<DeviceKey> devices = [.. Read()];
            T result = change(devices);
            AtomicFile.Write(path, Format(devices));
            return result;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new KeyFileException($"{path} cannot be changed: {e.Message}");
        }
    }

    private List<DeviceKey> Parse(byte[] content)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(content);
            var devices = new List<DeviceKey>();
            foreach (JsonElement element in document.RootElement.GetProperty("devices").EnumerateArray())
            {
                string id = element.GetProperty("id").GetString() ?? "";
                byte[] key = Convert.FromHexString(element.GetProperty("key").GetString() ?? "");
                string added = element.TryGetProperty("added", out JsonElement date) ? date.GetString() ?? "" : "";
                if (!Names.IsDeviceId(Encoding.UTF8.GetBytes(id)))
                    throw Damaged($"entry {devices.Count + 1} has no legal id");
                if (key.Length != ProtocolConstants.KeyBytes)
                    throw Damaged($"the key of {id} is not {ProtocolConstants.KeyBytes} bytes in hexadecimal");
                if (devices.Exists(d => d.Id == id))
                    throw Damaged($"{id} is there twice");
                devices.Add(new DeviceKey(id, key, added));
            }

            return devices;
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw Damaged(e.Message);
        }
    }

    private KeyFileException Damaged(string why) => new($"{path} is damaged ({why}): restore it from a backup");

    private static byte[] Format(List<DeviceKey> devices)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(bytes, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteStartArray("devices");
        foreach (DeviceKey device in devices.OrderBy(d => d.Id, StringComparer.Ordinal))
        {
            json.WriteStartObject();
            json.WriteString("id", device.Id);
            json.WriteString("key", Convert.ToHexStringLower(device.Key));
            json.WriteString("added", device.Added);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
        return bytes.WrittenSpan.ToArray();
    }
}
