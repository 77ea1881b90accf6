using IotTcpGateway.Buffer;
using IotTcpGateway.Commands;
using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Ingest;

/// <summary>What all sessions of a gateway share.</summary>
internal sealed class IngestContext
{
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

    /// <summary>The key of a device id; null if there is none. Replaced when the key file changes.</summary>
    public required Func<string, byte[]?> FindKey { get; set; }

    /// <summary>Compared with when a device has no key, so that it takes the same time.</summary>
    public byte[] DummyKey { get; } = System.Security.Cryptography.RandomNumberGenerator.GetBytes(32);

    /// <summary>Sessions that have been welcomed.</summary>
    public int Sessions => Volatile.Read(ref sessions);

    private int sessions;

    public void SessionBegan() => Interlocked.Increment(ref sessions);

    public void SessionEnded() => Interlocked.Decrement(ref sessions);
}
