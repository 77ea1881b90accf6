using System.Security.Cryptography;

using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Ingest;

/// <summary>What all sessions of a gateway share.</summary>
internal sealed class IngestContext
{
    private const int DummyKeys = 1024;

    private readonly byte[] dummyKeys = RandomNumberGenerator.GetBytes(DummyKeys * ProtocolConstants.KeyBytes);
    private int sessions;
    private uint commandNumber = BitConverter.ToUInt32(RandomNumberGenerator.GetBytes(sizeof(uint)));

    public required RecordBuffer Buffer { get; init; }

    public required DeviceRegistry Devices { get; init; }

    public required DevicesOptions DevicesOptions { get; init; }

    public required DeviceBoard Board { get; init; }

    public required CommandBoard Commands { get; init; }

    public required GatewayClock Clock { get; init; }

    public required TimeProvider Time { get; init; }

    public required IngestMetrics Metrics { get; init; }

    public required AckPump Pump { get; init; }

    public required ILogger Logger { get; init; }

    /// <summary>What the key file says of a device id now; null if nothing.</summary>
    public required Func<string, DeviceEntry?> FindDevice { get; init; }

    /// <summary>Back-off after failed proofs.</summary>
    public required AttemptLimit Attempts { get; init; }

    /// <summary>Devices that nobody knows, if those have to be approved; null if they come in as they are.</summary>
    public PendingDevices? Pending { get; init; }

    /// <summary>
    /// Compared with when a device has no key, so that it takes the same time: one of many, for one alone would always be
    /// in the processor's cache, and a device's own is not.
    /// </summary>
    public ReadOnlySpan<byte> DummyKeyOf(string deviceId) => dummyKeys.AsSpan(
        (int)((uint)deviceId.GetHashCode(StringComparison.Ordinal) % DummyKeys) * ProtocolConstants.KeyBytes,
        ProtocolConstants.KeyBytes);

    /// <summary>Completes when, at shutdown, nothing more will become safe.</summary>
    public TaskCompletionSource LastAcks { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Sessions that have been welcomed.</summary>
    public int Sessions => Volatile.Read(ref sessions);

    public void SessionBegan() => Interlocked.Increment(ref sessions);

    public void SessionEnded() => Interlocked.Decrement(ref sessions);

    /// <summary>
    /// Begins anywhere and does not repeat while the gateway runs, whatever listener a device comes through.
    /// </summary>
    public uint NextCommandNumber()
    {
        uint number;
        do
        {
            number = Interlocked.Increment(ref commandNumber);
        }
        while (number == 0);
        return number;
    }
}
