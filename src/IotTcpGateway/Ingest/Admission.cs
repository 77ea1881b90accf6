using System.Net;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Ingest;

/// <summary>What an address did wrong; each kind is counted, and limited, by itself.</summary>
internal enum Misdeed
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>It lost the frame boundary, or broke the handshake.</summary>
    BadBytes,

    /// <summary>It sent a right frame that the protocol does not allow.</summary>
    Violation,

    /// <summary>It could not prove who it is.</summary>
    FailedProof,
}

/// <summary>
/// Who may have a connection on a listener: the allow list, the caps on connections in all, by address and before
/// authentication, and the addresses that misbehaved. Its tables are bounded. Safe for several threads.
/// </summary>
internal sealed class Admission(ListenerOptions options, TimeProvider time)
{
    private const int MisbehavedMax = 4096;

    // With so few places in all there is nothing to share out.
    private const int UnsharedPlaces = 16;
    private static readonly TimeSpan UndisturbedFor = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan RefusedFor = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan CountedFor = TimeSpan.FromMinutes(1);

    private readonly Lock gate = new();
    private readonly Dictionary<IPAddress, Places> byAddress = [];

    // Connections without a session yet, the oldest first.
    private readonly LinkedList<Place> waiting = new();
    private readonly Dictionary<IPAddress, Misbehaviour> misbehaved = [];
    private readonly Queue<IPAddress> misbehavedInOrder = new();
    private int sessions;
    private ListenerOptions options = options;
    private IPNetwork[] allowed = [.. options.AllowFrom.Select(IPNetwork.Parse)];

    /// <summary>Connections, with a session or without.</summary>
    public int Connections { get; private set; }

    /// <summary>Takes changed limits; connections that are there stay.</summary>
    public void Change(ListenerOptions changed)
    {
        lock (gate)
        {
            options = changed;
            allowed = [.. changed.AllowFrom.Select(IPNetwork.Parse)];
        }
    }

    /// <summary>
    /// Asks for a place before anything is read; null if there is none, and why. Places for sessions are counted later, in
    /// <see cref="TryAuthenticated"/>, because a device may be about to replace its own connection. When the places are
    /// taken, who has held one longest without showing who he is makes room.
    /// </summary>
    public Place? TryEnter(IPAddress address, out RefuseReason refusal)
    {
        Place entered;
        Place? crowdedOut;
        lock (gate)
        {
            if (WhyNotNeedsLock(address, out crowdedOut) is { } reason)
            {
                refusal = reason;
                return null;
            }

            refusal = default;
            if (crowdedOut is not null)
            {
                GiveBackNeedsLock(crowdedOut);
                crowdedOut.State = PlaceState.CrowdedOut;
            }

            entered = new Place(address, time.GetTimestamp());
            waiting.AddLast(entered.Node);
            Connections++;
            Places places = byAddress.GetValueOrDefault(address);
            byAddress[address] = places with { Unauthenticated = places.Unauthenticated + 1 };
        }

        crowdedOut?.CrowdOut();
        return entered;
    }

    /// <summary>The connection has proved who it is; false if there is no place for a session.</summary>
    public bool TryAuthenticated(Place place, bool replacesOwn)
    {
        lock (gate)
        {
            if (place.State != PlaceState.Unauthenticated)
                return false;
            Places places = byAddress[place.Address];
            bool isFull = sessions >= options.MaxConnections || places.Sessions >= options.MaxConnectionsPerAddress;
            if (isFull && !replacesOwn)
                return false;
            waiting.Remove(place.Node);
            place.State = PlaceState.Session;
            sessions++;
            byAddress[place.Address] = new Places(places.Unauthenticated - 1, places.Sessions + 1);
            return true;
        }
    }

    /// <summary>Gives the place back.</summary>
    public void Leave(Place place)
    {
        lock (gate)
        {
            Connections--;
            GiveBackNeedsLock(place);
        }
    }

    /// <summary>The address did something wrong; true if it is refused from now on for a while.</summary>
    public bool Count(IPAddress address, Misdeed misdeed)
    {
        if (misdeed == Misdeed.None)
            return false;
        lock (gate)
        {
            Misbehaviour seen = MisbehaviourOfNeedsLock(address);
            int times = misdeed switch
            {
                Misdeed.BadBytes => ++seen.BadBytes,
                Misdeed.Violation => ++seen.Violations,
                _ => ++seen.FailedProofs,
            };
            int limit = misdeed == Misdeed.BadBytes ? options.BadFramesPerMinute : options.OffencesPerMinute;
            if (times <= limit || seen.RefusedSince is not null)
                return false;
            seen.RefusedSince = time.GetTimestamp();
            return true;
        }
    }

    private RefuseReason? WhyNotNeedsLock(IPAddress address, out Place? crowdedOut)
    {
        crowdedOut = null;
        if (allowed.Length > 0 && !Array.Exists(allowed, network => network.Contains(address)))
            return RefuseReason.AddressNotAllowed;
        if (IsRefusedNeedsLock(address))
            return RefuseReason.RateLimited;
        // Nobody may take all places of the handshake for himself.
        int shareOfAddress = Math.Max(options.MaxUnauthenticated / 2, UnsharedPlaces);
        bool isShareTaken = byAddress.GetValueOrDefault(address).Unauthenticated >= shareOfAddress;
        if (!isShareTaken && waiting.Count < options.MaxUnauthenticated)
            return null;
        crowdedOut = isShareTaken ? OldestOfNeedsLock(address) : waiting.First?.Value;
        // Who has just come is let finish: else a rush of good devices would push one another out.
        return crowdedOut is not null && time.GetElapsedTime(crowdedOut.Since) >= UndisturbedFor
            ? null
            : RefuseReason.TooManyConnections;
    }

    private Place? OldestOfNeedsLock(IPAddress address)
    {
        foreach (Place place in waiting)
        {
            if (place.Address.Equals(address))
                return place;
        }

        return null;
    }

    private void GiveBackNeedsLock(Place place)
    {
        if (place.State == PlaceState.CrowdedOut)
            return;
        Places places = byAddress[place.Address];
        if (place.State == PlaceState.Session)
        {
            sessions--;
            places = places with { Sessions = places.Sessions - 1 };
        }
        else
        {
            waiting.Remove(place.Node);
            places = places with { Unauthenticated = places.Unauthenticated - 1 };
        }

        if (places == default)
            byAddress.Remove(place.Address);
        else
            byAddress[place.Address] = places;
    }

    private Misbehaviour MisbehaviourOfNeedsLock(IPAddress address)
    {
        long now = time.GetTimestamp();
        if (misbehaved.TryGetValue(address, out Misbehaviour? seen))
        {
            if (time.GetElapsedTime(seen.Since, now) > CountedFor && !IsRefusedNeedsLock(address))
                seen.Restart(now);
            return seen;
        }

        while (misbehaved.Count >= MisbehavedMax)
            misbehaved.Remove(misbehavedInOrder.Dequeue());
        misbehaved.Add(address, seen = new Misbehaviour(now));
        misbehavedInOrder.Enqueue(address);
        return seen;
    }

    private bool IsRefusedNeedsLock(IPAddress address)
    {
        if (!misbehaved.TryGetValue(address, out Misbehaviour? seen) || seen.RefusedSince is not { } since)
            return false;
        if (time.GetElapsedTime(since) < RefusedFor)
            return true;
        seen.Restart(time.GetTimestamp());
        return false;
    }

    private readonly record struct Places(int Unauthenticated, int Sessions);

    private sealed class Misbehaviour(long since)
    {
        public long Since { get; private set; } = since;

        public int BadBytes { get; set; }

        public int Violations { get; set; }

        public int FailedProofs { get; set; }

        public long? RefusedSince { get; set; }

        public void Restart(long now)
        {
            Since = now;
            BadBytes = Violations = FailedProofs = 0;
            RefusedSince = null;
        }
    }
}
