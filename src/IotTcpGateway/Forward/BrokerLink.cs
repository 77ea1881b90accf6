namespace IotTcpGateway.Forward;

/// <summary>What happened to the link.</summary>
internal enum LinkEvent
{
    /// <summary>No connection came about: name, TCP, TLS, a file that cannot be read, no answer in time.</summary>
    Unreachable,

    /// <summary>The broker took the connection and closed it without an answer to CONNECT.</summary>
    Unanswered,

    /// <summary>The broker said that it does not speak this version.</summary>
    VersionRefused,

    /// <summary>The broker is busy, leaving or elsewhere; it may be well later.</summary>
    Unavailable,

    /// <summary>The broker does not want this client: credentials, id, ban, what it asks for.</summary>
    Unwelcome,

    /// <summary>Somebody else connected with the same client id.</summary>
    TakenOver,

    /// <summary>The broker closed the link, perhaps because of what it was sent.</summary>
    Closed,

    /// <summary>The link was lost, and no message can be the reason.</summary>
    Lost,

    /// <summary>The broker was silent: no PUBACK or PINGRESP in time.</summary>
    Overdue,

    /// <summary>The link has been there, and confirming, for long enough to believe in it.</summary>
    Held,

    /// <summary>The first broker of the list has been well for a while, and another one is in use.</summary>
    PreferredWell,

    /// <summary>The gateway said goodbye; nothing follows.</summary>
    Finished,
}

/// <summary>Where the link stands between two attempts; a class, so that other threads read it whole.</summary>
/// <param name="Broker">Index in the list of brokers.</param>
/// <param name="Failures">Attempts in a row that did not lead to a link that held.</param>
/// <param name="Is311">Whether the next attempt speaks MQTT 3.1.1.</param>
/// <param name="WasUnanswered">Whether the last attempt ended <see cref="LinkEvent.Unanswered"/>.</param>
internal sealed record LinkState(int Broker, int Failures, bool Is311, bool WasUnanswered);

/// <summary>What to do next: connect to the state's broker after a random part of the time.</summary>
/// <param name="WaitMax">Upper end of the wait; the wait itself is random between the ends (full jitter).</param>
/// <param name="WaitMin">Lower end: only for what a person must mend.</param>
/// <param name="IsLoud">Whether a person must hear of it.</param>
internal readonly record struct LinkAction(TimeSpan WaitMax, TimeSpan WaitMin, bool IsLoud);

/// <summary>The decision table of the link: pure, so that a test can read it out.</summary>
internal static class BrokerLink
{
    public static readonly TimeSpan BackOffFirst = TimeSpan.FromSeconds(1);
    public static readonly TimeSpan BackOffMax = TimeSpan.FromSeconds(30);
    public static readonly TimeSpan LongBackOff = TimeSpan.FromMinutes(2);

    /// <summary>A link that was there, and confirming, for so long resets the back-off.</summary>
    public static readonly TimeSpan HeldAfter = TimeSpan.FromSeconds(30);

    /// <summary>A broker whose links do not hold is left for the next one at this many failures in a row.</summary>
    public const int FailuresBeforeMoving = 3;

    /// <summary>The first state, and the one after which everything is forgotten.</summary>
    public static LinkState Start(bool wants311) => new(0, 0, wants311, WasUnanswered: false);

    public static (LinkState State, LinkAction Action) Next(
        LinkState state, LinkEvent occurred, int brokers, bool wants311)
    {
        // MQTT 3.1.1 is for the very next attempt only: a broker that had a bad moment is not held to the old version.
        LinkState same = state with { Failures = state.Failures + 1, Is311 = wants311, WasUnanswered = false };
        LinkState next = same with { Broker = (state.Broker + 1) % brokers };
        LinkState older = state with { Is311 = true, WasUnanswered = false };
        bool isOnlyOne = brokers == 1;
        return occurred switch
        {
            LinkEvent.Held => (state with { Failures = 0 }, default),
            LinkEvent.PreferredWell => (Start(wants311), default),
            LinkEvent.VersionRefused when !state.Is311 => (older, default),
            LinkEvent.Unanswered when !state.Is311 && state.WasUnanswered => (older, default),
            LinkEvent.Unanswered when !state.Is311 => (same with { WasUnanswered = true }, BackOff(same.Failures)),
            LinkEvent.Closed or LinkEvent.Lost or LinkEvent.Overdue when same.Failures < FailuresBeforeMoving
                => (same, BackOff(same.Failures)),
            LinkEvent.TakenOver => (same, Long),
            LinkEvent.Unwelcome or LinkEvent.VersionRefused when isOnlyOne => (same, Long),
            LinkEvent.Unwelcome or LinkEvent.VersionRefused => (next, BackOff(next.Failures) with { IsLoud = true }),
            _ => (next, BackOff(next.Failures)),
        };
    }

    private static LinkAction Long => new(LongBackOff, LongBackOff / 2, IsLoud: true);

    private static LinkAction BackOff(int failures)
    {
        double seconds = BackOffFirst.TotalSeconds * Math.Pow(2, Math.Min(failures - 1, 10));
        return new LinkAction(TimeSpan.FromSeconds(Math.Min(seconds, BackOffMax.TotalSeconds)), default, IsLoud: false);
    }
}
