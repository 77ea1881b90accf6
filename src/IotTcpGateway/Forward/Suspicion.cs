using IotTcpGateway.Buffer;

namespace IotTcpGateway.Forward;

/// <summary>What may have brought the broker to close the link.</summary>
internal enum SuspectKind
{
    Record,

    /// <summary>A retained status or meta message.</summary>
    State,

    Subscription,

    /// <summary>An answer to a command: it goes once and is never the same twice.</summary>
    Answer,
}

/// <summary>The oldest thing that the broker had not answered when it closed the link.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Name">Device, boot and sequence of a record; else the topic.</param>
internal readonly record struct Suspect(SuspectKind Kind, string Name);

/// <summary>How a link ended, as far as it is evidence.</summary>
/// <param name="Event">What happened.</param>
/// <param name="Oldest">Oldest unanswered request; null if everything was answered.</param>
/// <param name="WasAlone">Whether nothing else was unanswered.</param>
/// <param name="HasConfirmed">Whether the broker had confirmed anything on this link, be it the gateway's own
/// status.</param>
internal readonly record struct LinkEnd(LinkEvent Event, Suspect? Oldest, bool WasAlone, bool HasConfirmed)
{
    /// <summary>Where the record lies, if the oldest is one by itself.</summary>
    public RecordHandle? Record { get; init; }
}

/// <summary>What is held against whom.</summary>
/// <param name="Who">The suspect; null for nobody.</param>
/// <param name="Losses">Links in a row that the broker closed with it as the oldest unanswered.</param>
/// <param name="Proofs">Those of them that prove something.</param>
internal readonly record struct SuspicionState(Suspect? Who, int Losses, int Proofs)
{
    /// <summary>Whether the next link sends one message at a time, the suspected record first.</summary>
    public bool IsProbing => Who?.Kind == SuspectKind.Record && Losses >= Suspicion.LossesBeforeProbing;
}

/// <summary>
/// Decides, from how links end, that one message brings the broker to close the link: it would block everything behind
/// it for ever. A broker that crashes, stays silent or sends everybody away proves nothing. Pure.
/// </summary>
internal static class Suspicion
{
    public const int LossesBeforeProbing = 2;

    /// <summary>Links that must prove it before the suspect is given up.</summary>
    public const int ProofsNeeded = 3;

    /// <summary>The next state, and whom to give up.</summary>
    public static (SuspicionState State, Suspect? GivenUp) Next(SuspicionState state, in LinkEnd end)
    {
        if (end.Event != LinkEvent.Closed)
            return (state, null);
        // Closed with nothing under way: this broker closes for reasons of its own.
        if (end.Oldest is not { } oldest || oldest.Kind == SuspectKind.Answer)
            return (default, null);
        if (state.Who != oldest)
            state = new SuspicionState(oldest, 0, 0);
        // A record's loss is final, so it must have been alone; what is only told again at the next change need not.
        bool isProof = end.HasConfirmed && (end.WasAlone || oldest.Kind != SuspectKind.Record);
        state = new SuspicionState(oldest, state.Losses + 1, state.Proofs + (isProof ? 1 : 0));
        return state.Proofs < ProofsNeeded ? (state, null) : (default, oldest);
    }
}
