using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>How long to wait before the next connect.</summary>
internal static class BackOff
{
    /// <summary>A connection that lived this long has held, even if nothing was acknowledged on it.</summary>
    public static readonly TimeSpan HeldAfter = TimeSpan.FromMinutes(1);

    private static readonly TimeSpan shortest = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan longest = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan retryAfterMax = TimeSpan.FromHours(1);
    private static readonly TimeSpan afterSuperseded = TimeSpan.FromMinutes(1);

    /// <summary>
    /// 1 s doubling with every failure in a row, and up to half as much again by jitter: 1–1.5 s, 2–3 s, … 32–48 s,
    /// then
    /// 40–60 s. Where the gateway named a time, the jitter comes on top of it.
    /// </summary>
    /// <param name="failures">Ends in a row, from 1, since a connection held.</param>
    /// <param name="end">The last one.</param>
    /// <param name="jitter">0 up to 1.</param>
    public static TimeSpan Next(int failures, ConnectionEnd end, double jitter)
    {
        TimeSpan step = Shorter(shortest * Math.Pow(2, Math.Min(failures - 1, 30)), longest / 1.5);
        TimeSpan floor = Shorter(end.RetryAfter, retryAfterMax);
        if (end.Bye == ByeReason.Superseded)
            floor = afterSuperseded;
        return floor <= step ? step * (1 + (jitter / 2)) : floor + (Shorter(floor, longest) * (jitter / 2));
    }

    private static TimeSpan Shorter(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
