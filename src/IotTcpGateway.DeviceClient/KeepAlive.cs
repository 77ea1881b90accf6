namespace IotTcpGateway.DeviceClient;

/// <summary>What a connection's clock asks for.</summary>
internal enum KeepAliveAction
{
    /// <summary>Nothing yet.</summary>
    Wait,

    /// <summary>A PING.</summary>
    Ping,

    /// <summary>An end: nothing was received for the whole idle timeout.</summary>
    EndSilent,

    /// <summary>An end: a frame was begun and not ended in time.</summary>
    EndTorn,
}

/// <summary>When to ping and when to give a connection up.</summary>
internal static class KeepAlive
{
    /// <summary>Longest time from a frame's first byte to its last.</summary>
    public static readonly TimeSpan FrameTimeout = TimeSpan.FromSeconds(10);

    /// <summary>The action due now, and the time to the next look.</summary>
    /// <param name="idleTimeout">Of WELCOME.</param>
    /// <param name="sinceReceived">Since the last whole frame: bytes that never become a frame are not a sign of
    /// life.</param>
    /// <param name="sinceSent">Since anything was sent: the gateway waits for a sign of life as well.</param>
    /// <param name="sincePing">Since the last PING, or since WELCOME.</param>
    /// <param name="sinceFrameBegan">Since the first byte of a frame that has not ended; null for none.</param>
    public static (KeepAliveAction Action, TimeSpan DueIn) Next(
        TimeSpan idleTimeout, TimeSpan sinceReceived, TimeSpan sinceSent, TimeSpan sincePing, TimeSpan? sinceFrameBegan)
    {
        if (sinceReceived >= idleTimeout)
            return (KeepAliveAction.EndSilent, TimeSpan.Zero);
        if (sinceFrameBegan >= FrameTimeout)
            return (KeepAliveAction.EndTorn, TimeSpan.Zero);

        TimeSpan third = idleTimeout / 3;
        TimeSpan quiet = Shorter(sincePing, sinceReceived > sinceSent ? sinceReceived : sinceSent);
        bool isPingDue = quiet >= third;
        TimeSpan dueIn = Shorter(isPingDue ? third : third - quiet, idleTimeout - sinceReceived);
        if (sinceFrameBegan is { } began)
            dueIn = Shorter(dueIn, FrameTimeout - began);
        return (isPingDue ? KeepAliveAction.Ping : KeepAliveAction.Wait, dueIn);
    }

    private static TimeSpan Shorter(TimeSpan a, TimeSpan b) => a < b ? a : b;
}
