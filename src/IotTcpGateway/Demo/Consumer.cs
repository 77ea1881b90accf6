using System.Buffers;
using System.Text.Json;

namespace IotTcpGateway.Demo;

/// <summary>
/// Reads telemetry as a consumer behind the broker would, and removes duplicates by device, boot and sequence. Takes
/// single messages and batches. Safe for several threads.
/// </summary>
internal sealed class Consumer
{
    private readonly Lock gate = new();
    private readonly Dictionary<(string Device, uint Boot), Seen> streams = [];

    public long Messages { get; private set; }

    /// <summary>Distinct frames.</summary>
    public long Frames { get; private set; }

    public long Duplicates => Messages - Frames;

    public void Take(in ReadOnlySequence<byte> payload)
    {
        using JsonDocument document = JsonDocument.Parse(payload);
        lock (gate)
        {
            if (document.RootElement.ValueKind != JsonValueKind.Array)
            {
                TakeNeedsLock(document.RootElement);
                return;
            }

            foreach (JsonElement message in document.RootElement.EnumerateArray())
                TakeNeedsLock(message);
        }
    }

    private void TakeNeedsLock(JsonElement message)
    {
        (string, uint) key = (message.GetProperty("device").GetString()!, message.GetProperty("boot").GetUInt32());
        if (!streams.TryGetValue(key, out Seen? seen))
            streams.Add(key, seen = new Seen());
        Messages++;
        if (seen.Add(message.GetProperty("seq").GetUInt32()))
            Frames++;
    }

    // All up to a sequence, and single ones beyond: what arrives nearly in order takes next to no memory.
    private sealed class Seen
    {
        private readonly HashSet<uint> beyond = [];
        private uint all;

        public bool Add(uint sequence)
        {
            if (sequence <= all || !beyond.Add(sequence))
                return false;
            while (beyond.Remove(all + 1))
                all++;
            return true;
        }
    }
}
