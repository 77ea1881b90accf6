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
    private static readonly TimeSpan RefusedFor = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan CountedFor = TimeSpan.FromMinutes(1);

    private readonly Lock gate = new();
    private readonly Dictionary<IPAddress, Places> byAddress = [];
    private readonly Dictionary<IPAddress, Misbehaviour> misbehaved = [];
    private readonly Queue<IPAddress> misbehavedInOrder = new();
    private ListenerOptions options = options;
    private IPNetwork[] allowed = [.. options.AllowFrom.Select(IPNetwork.Parse)];

    /// <summary>Connections, with a session or without.</summary>
    public int Connections { get; private set; }

    /// <summary>Connections without a session yet.</summary>
    public int Unauthenticated { get; private set; }

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
    /// Asks for a place before anything is read; null if it is given. Places for sessions are counted later, in
    /// <see cref="TryAuthenticated"/>, because a device may be about to replace its own connection.
    /// </summary>
    public RefuseReason? TryEnter(IPAddress address)
    {
        lock (gate)
        {
            if (allowed.Length > 0 && !Array.Exists(allowed, network => network.Contains(address)))
                return RefuseReason.AddressNotAllowed;
            if (IsRefusedNeedsLock(address))
                return RefuseReason.RateLimited;
            Places places = byAddress.GetValueOrDefault(address);
            // Nobody may take all places of the handshake for himself.
            int shareOfAddress = Math.Max(options.MaxUnauthenticated / 2, UnsharedPlaces);
            if (Unauthenticated >= options.MaxUnauthenticated || places.Unauthenticated >= shareOfAddress)
                return RefuseReason.TooManyConnections;
            Unauthenticated++;
            Connections++;
            byAddress[address] = places with { Unauthenticated = places.Unauthenticated + 1 };
            return null;
        }
    }

    /// <summary>The connection has proved who it is; false if there is no place for a session.</summary>
    public bool TryAuthenticated(IPAddress address, bool replacesOwn)
    {
        lock (gate)
        {
            Places places = byAddress[address];
            bool isFull = Connections - Unauthenticated >= options.MaxConnections
                || places.Sessions >= options.MaxConnectionsPerAddress;
            if (isFull && !replacesOwn)
                return false;
            Unauthenticated--;
            byAddress[address] = new Places(places.Unauthenticated - 1, places.Sessions + 1);
            return true;
        }
    }

    /// <summary>Gives the place back.</summary>
    public void Leave(IPAddress address, bool wasAuthenticated)
    {
        lock (gate)
        {
            Connections--;
            Places places = byAddress[address];
            if (wasAuthenticated)
            {
                places = places with { Sessions = places.Sessions - 1 };
            }
            else
            {
                Unauthenticated--;
                places = places with { Unauthenticated = places.Unauthenticated - 1 };
            }

            if (places == default)
                byAddress.Remove(address);
            else
                byAddress[address] = places;
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
