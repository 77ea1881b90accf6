using System.Runtime.InteropServices;

using IotTcpGateway.Buffer;

namespace IotTcpGateway.Time;

/// <summary>The wall clock, the monotonic clock, and whether the wall clock can be believed.</summary>
internal sealed partial class GatewayClock(TimeProvider time, Func<bool> isSynchronised)
{
    private static readonly TimeSpan CheckInterval = TimeSpan.FromSeconds(1);

    private long checkedAt = -1;
    private bool synchronised;

    /// <summary>
    /// Whether the wall clock was synchronised since the host started; asked of the kernel once a second.
    /// </summary>
    public bool IsSynchronised
    {
        get
        {
            long now = time.GetTimestamp();
            if (checkedAt < 0 || time.GetElapsedTime(checkedAt, now) >= CheckInterval)
            {
                // Once set it stays true: an RTC-less host keeps its time while it runs, whatever the server does.
                synchronised = synchronised || isSynchronised();
                checkedAt = now;
            }

            return synchronised;
        }
    }

    public long UnixMilliseconds => time.GetUtcNow().ToUnixTimeMilliseconds();

    /// <summary>Unix µs for WELCOME; 0 if the clock is not synchronised.</summary>
    public long UnixMicrosecondsOrZero =>
        IsSynchronised ? (time.GetUtcNow() - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond : 0;

    public long MonotonicMicroseconds => time.GetElapsedTime(0).Ticks / TimeSpan.TicksPerMicrosecond;

    /// <summary>Both clocks now.</summary>
    public Arrival Arrival() => new(UnixMilliseconds, MonotonicMicroseconds, IsSynchronised);

    /// <summary>
    /// The wall-clock time of an arrival, corrected if the clock was set since; null if it never was.
    /// </summary>
    public long? UnixMillisecondsOf(in Arrival arrival)
    {
        if (arrival.IsSynchronised)
            return arrival.UnixMilliseconds;
        return IsSynchronised && arrival.MonotonicMicroseconds != Buffer.Arrival.OfAnotherBoot
            ? UnixMilliseconds - ((MonotonicMicroseconds - arrival.MonotonicMicroseconds) / 1000)
            : null;
    }

    /// <summary>What the kernel says: adjtimex(2) answers TIME_ERROR while the clock is not synchronised.</summary>
    public static unsafe bool IsKernelSynchronised()
    {
        const int timeError = 5;
        // struct timex is 208 bytes on 64-bit Linux; modes 0 only reads.
        byte* timex = stackalloc byte[256];
        new Span<byte>(timex, 256).Clear();
        int state = AdjustTime(timex);
        return state >= 0 && state != timeError;
    }

    [LibraryImport("libc", EntryPoint = "adjtimex")]
    private static unsafe partial int AdjustTime(byte* timex);
}
