using System.Runtime.InteropServices;

namespace IotTcpGateway.Buffer;

/// <summary>What is known at the start of what was safe: the highest of what custody file and journals tell.</summary>
internal sealed class CustodyMemory(int bootsMax)
{
    private readonly Dictionary<(string DeviceId, uint BootId), (int Priority, uint Safe)> boots = [];

    /// <summary>Boots for which there was no room.</summary>
    public long Forgotten { get; private set; }

    public IEnumerable<CustodyEntry> Entries =>
        boots.Select(b => new CustodyEntry(b.Key.DeviceId, b.Key.BootId, b.Value.Priority, b.Value.Safe));

    public void Learn(string deviceId, uint bootId, int priority, uint safeSequence)
    {
        if (boots.Count >= bootsMax && !boots.ContainsKey((deviceId, bootId)))
        {
            Forgotten++;
            return;
        }

        ref (int Priority, uint Safe) known =
            ref CollectionsMarshal.GetValueRefOrAddDefault(boots, (deviceId, bootId), out _);
        known = (priority, Math.Max(known.Safe, safeSequence));
    }
}
