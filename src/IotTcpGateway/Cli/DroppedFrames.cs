using System.Text;

using IotTcpGateway.Buffer;

namespace IotTcpGateway.Cli;

/// <summary>Frames to be dropped, counted by device and boot.</summary>
internal sealed class DroppedFrames
{
    private readonly Dictionary<(string Device, uint Boot), (uint First, uint Last, long Count)> byBoot = [];

    /// <summary>Counts a frame; returns whose it is.</summary>
    public string Add(in SpilledFrame frame)
    {
        string device = Encoding.UTF8.GetString(frame.DeviceId);
        (string, uint) key = (device, frame.BootId);
        (uint first, uint last, long count) = byBoot.GetValueOrDefault(key, (frame.Sequence, frame.Sequence, 0));
        byBoot[key] = (Math.Min(first, frame.Sequence), Math.Max(last, frame.Sequence), count + 1);
        return device;
    }

    /// <summary>A line for each device and boot.</summary>
    public IEnumerable<string> Lines() => byBoot.OrderBy(b => b.Key.Device, StringComparer.Ordinal).Select(b => BufferText.Text(
        $"{b.Key.Device} boot {b.Key.Boot}: {b.Value.Count} frames from {b.Value.First} to {b.Value.Last}"));

    public override string ToString() => BufferText.Text(
        $"{byBoot.Values.Sum(b => b.Count)} frames of {byBoot.Keys.Select(k => k.Device).Distinct().Count()} devices");
}
