using System.Buffers;
using System.Globalization;
using System.Text;
using System.Text.Json;

using MQTTnet;

namespace IotTcpGateway.TestKit;

/// <summary>What a consumer tells messages apart by.</summary>
public readonly record struct MessageKey(string Device, uint Boot, uint Sequence, int Part);

/// <summary>A message of telemetry as it first came.</summary>
/// <param name="Topic">Its topic.</param>
/// <param name="Payload">One JSON object, or a raw body.</param>
public sealed record Delivered(string Topic, byte[] Payload)
{
    public string Json => Encoding.UTF8.GetString(Payload);
}

/// <summary>
/// Telemetry behind the broker, duplicates removed as a consumer should: by device, boot, sequence and part. Takes
/// single messages, batches and raw bodies. Safe for several threads.
/// </summary>
public sealed class Deliveries(string gatewayId)
{
    private static readonly string[] Reserved = ["meta", "status", "command", "result", "gaps"];

    private readonly Lock gate = new();
    private readonly Dictionary<MessageKey, Delivered> messages = [];
    private readonly Dictionary<(string Device, uint Boot), uint> newest = [];
    private readonly List<string> faults = [];
    private readonly string start = $"telemetry/{gatewayId}/";
    private long total;
    private long outOfOrder;

    /// <summary>Distinct messages.</summary>
    public int Count
    {
        get
        {
            lock (gate)
                return messages.Count;
        }
    }

    /// <summary>Messages that had come before.</summary>
    public long Duplicates
    {
        get
        {
            lock (gate)
                return total - messages.Count;
        }
    }

    /// <summary>Messages that came for the first time after a newer one of their device and boot had.</summary>
    public long OutOfOrder
    {
        get
        {
            lock (gate)
                return outOfOrder;
        }
    }

    /// <summary>Duplicates that say something else, and what cannot be read.</summary>
    public IReadOnlyList<string> Faults
    {
        get
        {
            lock (gate)
                return [.. faults];
        }
    }

    public Delivered? Find(MessageKey key)
    {
        lock (gate)
            return messages.GetValueOrDefault(key);
    }

    public IReadOnlyCollection<MessageKey> Keys()
    {
        lock (gate)
            return [.. messages.Keys];
    }

    /// <summary>Takes a message if it is telemetry; false if it is something else.</summary>
    public bool Take(MqttApplicationMessage message)
    {
        if (!IsTelemetry(message.Topic))
            return false;
        lock (gate)
        {
            if (message.UserProperties?.Find(p => p.Name == "boot") is null)
                TakeJsonNeedsLock(message);
            else
                TakeRawNeedsLock(message);
        }

        return true;
    }

    private bool IsTelemetry(string topic)
    {
        if (!topic.StartsWith(start, StringComparison.Ordinal))
            return false;
        string[] levels = topic[start.Length..].Split('/');
        return levels.Length == 1 ? levels[0] != "status" : !Reserved.Contains(levels[1]);
    }

    private void TakeJsonNeedsLock(MqttApplicationMessage message)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(message.Payload);
            JsonElement[] all = document.RootElement.ValueKind == JsonValueKind.Array
                ? [.. document.RootElement.EnumerateArray()]
                : [document.RootElement];
            foreach (JsonElement one in all)
            {
                int part = one.TryGetProperty("part", out JsonElement number) ? number.GetInt32() : 0;
                var key = new MessageKey(
                    one.GetProperty("device").GetString()!, one.GetProperty("boot").GetUInt32(),
                    one.GetProperty("seq").GetUInt32(), part);
                AddNeedsLock(key, new Delivered(message.Topic, Encoding.UTF8.GetBytes(one.GetRawText())));
            }
        }
        catch (Exception unreadable)
            when (unreadable is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            faults.Add($"{message.Topic}: {unreadable.Message}: {Encoding.UTF8.GetString(message.Payload)}");
        }
    }

    private void TakeRawNeedsLock(MqttApplicationMessage message)
    {
        uint Number(string name) => uint.Parse(
            Encoding.ASCII.GetString(message.UserProperties.Single(p => p.Name == name).ValueBuffer.Span),
            CultureInfo.InvariantCulture);
        var key = new MessageKey(message.Topic[start.Length..], Number("boot"), Number("seq"), 0);
        AddNeedsLock(key, new Delivered(message.Topic, BuffersExtensions.ToArray(message.Payload)));
    }

    private void AddNeedsLock(MessageKey key, Delivered message)
    {
        total++;
        if (messages.TryGetValue(key, out Delivered? earlier))
        {
            if (earlier.Topic != message.Topic || !earlier.Payload.AsSpan().SequenceEqual(message.Payload))
                faults.Add($"{key} came twice and differs: {earlier.Json} and {message.Json}");
            return;
        }

        messages.Add(key, message);
        uint highest = newest.GetValueOrDefault((key.Device, key.Boot));
        if (key.Sequence < highest)
            outOfOrder++;
        else
            newest[(key.Device, key.Boot)] = key.Sequence;
    }
}
