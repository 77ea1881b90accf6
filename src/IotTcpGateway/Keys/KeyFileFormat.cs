using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Keys;

/// <summary>The key file's content is not right: what is wrong, where in it.</summary>
internal sealed class KeyFileFormatException(string message) : Exception(message);

/// <summary>
/// The key file's text: <c>{"format":2,"devices":[{"id":…,"key":…,"added":…,…}]}</c>. A key that is not known here is an
/// error: a permission that is misspelt must not let a device do everything.
/// </summary>
internal static class KeyFileFormat
{
    /// <summary>Written here; 1 has no "format" and no more than id, key and added.</summary>
    public const int Version = 2;

    /// <summary>Patterns of a device.</summary>
    public const int PatternsMax = 64;

    private const string TimeFormat = "yyyy-MM-dd'T'HH:mm:ss'Z'";

    /// <exception cref="KeyFileFormatException">The content is not right.</exception>
    public static List<DeviceEntry> Parse(ReadOnlyMemory<byte> content)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(content);
            JsonElement root = document.RootElement;
            RefuseOtherKeys(root, "the file", "format", "devices");
            if (root.TryGetProperty("format", out JsonElement version) && version.GetInt32() is < 1 or > Version)
                throw new KeyFileFormatException($"its format {version.GetInt32()} is newer than this program knows");
            var devices = new List<DeviceEntry>();
            var ids = new HashSet<string>(StringComparer.Ordinal);
            foreach (JsonElement element in root.GetProperty("devices").EnumerateArray())
            {
                DeviceEntry device = ParseDevice(element, $"entry {devices.Count + 1}");
                if (!ids.Add(device.Id))
                    throw new KeyFileFormatException($"{device.Id} is there twice");
                devices.Add(device);
            }

            return devices;
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new KeyFileFormatException(e.Message);
        }
    }

    public static byte[] Format(IEnumerable<DeviceEntry> devices)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using var json = new Utf8JsonWriter(bytes, new JsonWriterOptions { Indented = true });
        json.WriteStartObject();
        json.WriteNumber("format", Version);
        json.WriteStartArray("devices");
        foreach (DeviceEntry device in devices.OrderBy(d => d.Id, StringComparer.Ordinal))
            Write(json, device);
        json.WriteEndArray();
        json.WriteEndObject();
        json.Flush();
        return bytes.WrittenSpan.ToArray();
    }

    private static DeviceEntry ParseDevice(JsonElement element, string where)
    {
        string id = element.GetProperty("id").GetString() ?? "";
        if (!Names.IsDeviceId(Encoding.UTF8.GetBytes(id)))
            throw new KeyFileFormatException($"{where} has no legal id");
        RefuseOtherKeys(
            element, id, "id", "authentication", "key", "formerKey", "formerKeyUntil", "added", "revoked", "channels", "commands",
            "framesPerSecond", "priority");
        DateTimeOffset? revoked = TimeOf(element, "revoked", id);
        DeviceMode mode = ModeOf(element, id);
        byte[]? key = KeyOf(element, "key", id);
        if (key is null != (mode != DeviceMode.Hmac || revoked is not null))
            throw new KeyFileFormatException(key is null ? $"{id} has no key" : $"{id} has a key, and is to show who it is without one");
        byte[]? former = KeyOf(element, "formerKey", id);
        return new DeviceEntry
        {
            Id = id,
            Mode = mode,
            Key = key,
            Former = former is null ? null : new FormerKey(former, TimeOf(element, "formerKeyUntil", id) ?? DateTimeOffset.MinValue),
            // The first format took any text.
            Added = TimeOf(element, "added", id) ?? DateTimeOffset.MinValue,
            Revoked = revoked,
            Permissions = PermissionsOf(element, id),
        };
    }

    private static DevicePermissions PermissionsOf(JsonElement element, string id)
    {
        var permissions = new DevicePermissions
        {
            Channels = PatternsOf(element, "channels", id),
            Commands = PatternsOf(element, "commands", id),
            FramesPerSecond = NumberOf(element, "framesPerSecond", id, 1, 1_000_000),
            Priority = NumberOf(element, "priority", id, 1, 3),
        };
        return permissions.IsSameAs(DevicePermissions.Unlimited) ? DevicePermissions.Unlimited : permissions;
    }

    private static DeviceMode ModeOf(JsonElement element, string id)
    {
        if (!element.TryGetProperty("authentication", out JsonElement text))
            return DeviceMode.Hmac;
        return text.GetString() switch
        {
            "hmac" => DeviceMode.Hmac,
            "certificate" => DeviceMode.Certificate,
            "none" => DeviceMode.None,
            _ => throw new KeyFileFormatException($"the authentication of {id} is not hmac, certificate or none"),
        };
    }

    private static byte[]? KeyOf(JsonElement element, string name, string id)
    {
        if (!element.TryGetProperty(name, out JsonElement text))
            return null;
        byte[] key = Convert.FromHexString(text.GetString() ?? "");
        return key.Length == ProtocolConstants.KeyBytes
            ? key
            : throw new KeyFileFormatException($"the {name} of {id} is not {ProtocolConstants.KeyBytes} bytes in hexadecimal");
    }

    private static DateTimeOffset? TimeOf(JsonElement element, string name, string id)
    {
        if (!element.TryGetProperty(name, out JsonElement text) || text.GetString() is not { Length: > 0 } written)
            return null;
        return DateTimeOffset.TryParseExact(
            written, TimeFormat, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out DateTimeOffset time)
            ? time
            : throw new KeyFileFormatException($"\"{name}\" of {id} is no time such as 2026-01-31T12:00:00Z");
    }

    private static string[]? PatternsOf(JsonElement element, string name, string id)
    {
        if (!element.TryGetProperty(name, out JsonElement list))
            return null;
        string[] patterns = [.. list.EnumerateArray().Select(text => text.GetString() ?? "")];
        if (patterns.Length > PatternsMax)
            throw new KeyFileFormatException($"\"{name}\" of {id} has more than {PatternsMax} patterns");
        return Array.Find(patterns, pattern => !NamePattern.IsValid(pattern)) is null
            ? patterns
            : throw new KeyFileFormatException($"\"{name}\" of {id} has a pattern that is none");
    }

    private static int? NumberOf(JsonElement element, string name, string id, int min, int max)
    {
        if (!element.TryGetProperty(name, out JsonElement number))
            return null;
        return number.TryGetInt32(out int value) && value >= min && value <= max
            ? value
            : throw new KeyFileFormatException($"\"{name}\" of {id} is not {min} to {max}");
    }

    private static void RefuseOtherKeys(JsonElement element, string where, params ReadOnlySpan<string> known)
    {
        foreach (JsonProperty property in element.EnumerateObject())
        {
            if (!known.Contains(property.Name))
                throw new KeyFileFormatException($"{where} has a key that is not known here; those known are {string.Join(", ", known)}");
        }
    }

    private static void Write(Utf8JsonWriter json, DeviceEntry device)
    {
        json.WriteStartObject();
        json.WriteString("id", device.Id);
        if (device.Mode != DeviceMode.Hmac)
            json.WriteString("authentication", device.Mode == DeviceMode.None ? "none" : "certificate");
        if (device.Key is not null)
            json.WriteString("key", Convert.ToHexStringLower(device.Key));
        if (device.Former is { } former)
        {
            json.WriteString("formerKey", Convert.ToHexStringLower(former.Key));
            WriteTime(json, "formerKeyUntil", former.Until);
        }

        WriteTime(json, "added", device.Added);
        if (device.Revoked is { } revoked)
            WriteTime(json, "revoked", revoked);
        Write(json, device.Permissions);
        json.WriteEndObject();
    }

    private static void Write(Utf8JsonWriter json, DevicePermissions permissions)
    {
        WritePatterns(json, "channels", permissions.Channels);
        WritePatterns(json, "commands", permissions.Commands);
        if (permissions.FramesPerSecond is { } frames)
            json.WriteNumber("framesPerSecond", frames);
        if (permissions.Priority is { } priority)
            json.WriteNumber("priority", priority);
    }

    private static void WritePatterns(Utf8JsonWriter json, string name, IReadOnlyList<string>? patterns)
    {
        if (patterns is null)
            return;
        json.WriteStartArray(name);
        foreach (string pattern in patterns)
            json.WriteStringValue(pattern);
        json.WriteEndArray();
    }

    private static void WriteTime(Utf8JsonWriter json, string name, DateTimeOffset time) =>
        json.WriteString(name, TextOf(time));

    /// <summary>A time as the file has it.</summary>
    public static string TextOf(DateTimeOffset time) => time.UtcDateTime.ToString(TimeFormat, CultureInfo.InvariantCulture);
}
