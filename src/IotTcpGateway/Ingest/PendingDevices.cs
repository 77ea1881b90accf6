using System.Net;

using IotTcpGateway.Protocol;
using IotTcpGateway.Time;

namespace IotTcpGateway.Ingest;

/// <summary>A device that asked to be let in and waits until somebody approves it.</summary>
/// <param name="DeviceId">Its id.</param>
/// <param name="Mode">None, or a certificate that was found right.</param>
/// <param name="Address">Whence it came last.</param>
/// <param name="Firmware">What it says of itself; raw text of the device.</param>
/// <param name="Times">How often it asked.</param>
/// <param name="LastAt">Timestamp of the last time.</param>
internal sealed record PendingDevice(
    string DeviceId, AuthenticationMode Mode, IPAddress Address, string Firmware, int Times, long LastAt);

/// <summary>
/// Enrolment: devices that nobody knows yet. At most 256, the one longest not heard of goes; one address may have a
/// quarter of them, so that nobody can push the others out. Safe for several threads.
/// </summary>
internal sealed class PendingDevices(TimeProvider time)
{
    public const int EntriesMax = 256;
    public const int EntriesMaxOfAddress = EntriesMax / 4;

    private readonly Lock gate = new();
    private readonly RecentTable<string, PendingDevice> pending = new(EntriesMax);

    /// <summary>Who waits, the one longest not heard of first.</summary>
    public IReadOnlyList<PendingDevice> All
    {
        get
        {
            lock (gate)
                return [.. pending.Entries.Select(entry => entry.Value)];
        }
    }

    /// <summary>A device asked; true if it was not on the list.</summary>
    public bool Asked(string deviceId, AuthenticationMode mode, IPAddress address, string firmware)
    {
        lock (gate)
        {
            bool isNew = !pending.TryGet(deviceId, out PendingDevice? before);
            // Who has shown a certificate is not displaced by who only uses its name.
            if (before is { Mode: AuthenticationMode.Certificate } && mode == AuthenticationMode.None)
                return false;
            if (isNew)
                MakeRoomNeedsLock(address);
            pending.Set(
                deviceId, new PendingDevice(deviceId, mode, address, firmware, (before?.Times ?? 0) + 1, time.GetTimestamp()));
            return isNew;
        }
    }

    /// <summary>The file knows it now.</summary>
    public void Remove(string deviceId)
    {
        lock (gate)
            pending.Remove(deviceId);
    }

    private void MakeRoomNeedsLock(IPAddress address)
    {
        int ofAddress = 0;
        string? oldest = null;
        foreach ((string deviceId, PendingDevice device) in pending.Entries)
        {
            if (!device.Address.Equals(address))
                continue;
            oldest ??= deviceId;
            ofAddress++;
        }

        if (ofAddress >= EntriesMaxOfAddress)
            pending.Remove(oldest!);
    }
}
