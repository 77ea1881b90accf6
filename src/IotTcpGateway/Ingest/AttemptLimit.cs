using System.Net;

using IotTcpGateway.Time;

namespace IotTcpGateway.Ingest;

/// <summary>
/// Back-off after failed proofs of one device id from one address: three are free, then 1 s, doubling to 60 s. From
/// another address the same device is never delayed. What is remembered is bounded. Safe for several threads.
/// </summary>
internal sealed class AttemptLimit(TimeProvider time)
{
    public const int EntriesMax = 4096;

    private const int FreeAttempts = 3;
    private static readonly TimeSpan First = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Longest = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan ForgottenAfter = TimeSpan.FromMinutes(10);

    private readonly Lock gate = new();
    private readonly RecentTable<(IPAddress Address, string DeviceId), Failures> failed = new(EntriesMax);

    /// <summary>Addresses and ids that are remembered.</summary>
    public int Count
    {
        get
        {
            lock (gate)
                return failed.Count;
        }
    }

    /// <summary>How long until a proof is looked at.</summary>
    public TimeSpan Wait(IPAddress address, string deviceId)
    {
        lock (gate)
        {
            if (!failed.TryGet((address, deviceId), out Failures seen))
                return TimeSpan.Zero;
            TimeSpan left = BackOffOf(seen.Times) - time.GetElapsedTime(seen.LastAt);
            return left > TimeSpan.Zero ? left : TimeSpan.Zero;
        }
    }

    /// <summary>A proof was wrong.</summary>
    public void Failed(IPAddress address, string deviceId)
    {
        lock (gate)
        {
            bool isFresh = failed.TryGet((address, deviceId), out Failures seen)
                && time.GetElapsedTime(seen.LastAt) < ForgottenAfter;
            failed.Set((address, deviceId), new Failures(isFresh ? seen.Times + 1 : 1, time.GetTimestamp()));
        }
    }

    /// <summary>A proof was right.</summary>
    public void Succeeded(IPAddress address, string deviceId)
    {
        lock (gate)
            failed.Remove((address, deviceId));
    }

    private static TimeSpan BackOffOf(int times)
    {
        if (times < FreeAttempts)
            return TimeSpan.Zero;
        int doublings = Math.Min(times - FreeAttempts, 6);
        TimeSpan backOff = First * (1 << doublings);
        return backOff < Longest ? backOff : Longest;
    }

    private readonly record struct Failures(int Times, long LastAt);
}
