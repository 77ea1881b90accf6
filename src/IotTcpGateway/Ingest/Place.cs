using System.Net;

namespace IotTcpGateway.Ingest;

internal enum PlaceState
{
    Unauthenticated,
    Session,

    /// <summary>It was given to somebody else.</summary>
    CrowdedOut,
}

/// <summary>A connection's place on a listener; what is in it belongs to <see cref="Admission"/>, under its lock.</summary>
internal sealed class Place
{
    public Place(IPAddress address, long since)
    {
        Address = address;
        Since = since;
        Node = new LinkedListNode<Place>(this);
    }

    public IPAddress Address { get; }

    /// <summary>Timestamp of its beginning.</summary>
    public long Since { get; }

    public PlaceState State { get; set; }

    public LinkedListNode<Place> Node { get; }

    /// <summary>Who is to go when somebody else takes the place; set before the next connection is accepted.</summary>
    public Session? Holder { private get; set; }

    public void CrowdOut() => Holder?.Stop(SessionEnding.CrowdedOut);
}
