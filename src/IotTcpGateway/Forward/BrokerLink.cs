namespace IotTcpGateway.Forward;

/// <summary>What happened to the link.</summary>
internal enum LinkEvent
{
    /// <summary>No connection came about: name, TCP, TLS, no answer in time.</summary>
    Unreachable,

    /// <summary>The broker closed before CONNACK, or does not speak the version.</summary>
    VersionRefused,

    /// <summary>The broker is busy or gone elsewhere; it may be well later.</summary>
    Unavailable,

    /// <summary>The broker does not want this client: credentials, id, ban.</summary>
    Unwelcome,

    /// <summary>Somebody else connected with the same client id.</summary>
    TakenOver,

    /// <summary>The link was there and is lost: closed, no PUBACK or PINGRESP in time.</summary>
    Lost,

    /// <summary>The link has been there long enough to believe in it.</summary>
    Held,

    /// <summary>The first broker of the list answers again, while another one is in use.</summary>
    PreferredWell,
}

/// <summary>Where the link stands between two attempts.</summary>
/// <param name="Broker">Index in the list of brokers.</param>
/// <param name="Failures">Attempts in a row that did not lead to a link that held.</param>
/// <param name="Is311">Whether this broker is spoken to in MQTT 3.1.1.</param>
internal readonly record struct LinkState(int Broker, int Failures, bool Is311);

/// <summary>What to do next: connect to the state's broker after a random part of the time.</summary>
/// <param name="WaitMax">Upper end of the wait; the wait itself is random between 0 and it (full jitter).</param>
/// <param name="WaitMin">Lower end: only for what a person must mend.</param>
/// <param name="IsLoud">Whether a person should hear of it.</param>
internal readonly record struct LinkAction(TimeSpan WaitMax, TimeSpan WaitMin, bool IsLoud);

/// <summary>The decision table of the link: pure, so that a test can read it out.</summary>
internal static class BrokerLink
{
    public static readonly TimeSpan BackOffFirst = TimeSpan.FromSeconds(1);
    public static readonly TimeSpan BackOffMax = TimeSpan.FromSeconds(30);
    public static readonly TimeSpan LongBackOff = TimeSpan.FromMinutes(2);

    /// <summary>A link that was there for so long resets the back-off.</summary>
    public static readonly TimeSpan HeldAfter = TimeSpan.FromSeconds(30);

    public static (LinkState State, LinkAction Action) Next(LinkState state, LinkEvent occurred, int brokers, bool wants311)
    {
        LinkState failed = state with { Failures = state.Failures + 1 };
        LinkState elsewhere = failed with
        {
            Broker = (state.Broker + 1) % brokers,
            Is311 = brokers > 1 ? wants311 : state.Is311,
        };
        return occurred switch
        {
            LinkEvent.Held => (state with { Failures = 0 }, default),
            LinkEvent.PreferredWell => (new LinkState(0, 0, wants311), default),
            LinkEvent.VersionRefused when !state.Is311 => (failed with { Is311 = true }, default),
            LinkEvent.Lost => (failed, BackOff(failed.Failures)),
            LinkEvent.TakenOver => (failed, new LinkAction(LongBackOff, LongBackOff / 2, IsLoud: true)),
            LinkEvent.Unwelcome when brokers == 1 => (failed, new LinkAction(LongBackOff, LongBackOff / 2, IsLoud: true)),
            LinkEvent.Unwelcome => (elsewhere, BackOff(elsewhere.Failures) with { IsLoud = true }),
            _ => (elsewhere, BackOff(elsewhere.Failures)),
        };
    }

    private static LinkAction BackOff(int failures)
    {
        double seconds = BackOffFirst.TotalSeconds * Math.Pow(2, Math.Min(failures - 1, 10));
        return new LinkAction(TimeSpan.FromSeconds(Math.Min(seconds, BackOffMax.TotalSeconds)), default, IsLoud: false);
    }
}
