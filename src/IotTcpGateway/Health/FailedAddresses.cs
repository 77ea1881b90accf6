using System.Net;

namespace IotTcpGateway.Health;

/// <summary>
/// Wrong credentials by address: after <see cref="FailuresMax"/> within a minute an address is not listened to for the rest
/// of it. Bounded: the oldest goes. Who is refused has no say over any other address. Safe for several threads.
/// </summary>
internal sealed class FailedAddresses(TimeProvider time)
{
    public const int FailuresMax = 10;
    public const int AddressesMax = 1024;

    private const int HostOfIPv6Bytes = 8;
    private static readonly TimeSpan Span = TimeSpan.FromMinutes(1);

    private readonly Lock gate = new();
    private readonly Dictionary<IPAddress, LinkedListNode<Failures>> byAddress = [];
    private readonly LinkedList<Failures> oldestFirst = [];

    /// <summary>How many addresses are remembered.</summary>
    public int Count
    {
        get
        {
            lock (gate)
                return byAddress.Count;
        }
    }

    /// <summary>How long this address is not listened to; zero if it is.</summary>
    public TimeSpan Refused(IPAddress address)
    {
        lock (gate)
        {
            return FindNeedsLock(NetworkOf(address)) is { Count: >= FailuresMax } failures
                ? Span - time.GetElapsedTime(failures.Since)
                : TimeSpan.Zero;
        }
    }

    /// <summary>Counts a failure.</summary>
    public void Add(IPAddress address)
    {
        IPAddress network = NetworkOf(address);
        lock (gate)
        {
            if (FindNeedsLock(network) is { } known)
            {
                known.Count++;
                return;
            }

            if (byAddress.Count >= AddressesMax)
                RemoveNeedsLock(oldestFirst.First!);
            byAddress.Add(network, oldestFirst.AddLast(new Failures(network, time.GetTimestamp())));
        }
    }

    // Who has an IPv6 address has 2^64 of them.
    private static IPAddress NetworkOf(IPAddress address)
    {
        if (address.IsIPv4MappedToIPv6)
            return address.MapToIPv4();
        byte[] bytes = address.GetAddressBytes();
        if (bytes.Length <= HostOfIPv6Bytes)
            return address;
        bytes.AsSpan(HostOfIPv6Bytes).Clear();
        return new IPAddress(bytes);
    }

    private Failures? FindNeedsLock(IPAddress network)
    {
        if (!byAddress.TryGetValue(network, out LinkedListNode<Failures>? node))
            return null;
        if (time.GetElapsedTime(node.Value.Since) < Span)
            return node.Value;
        RemoveNeedsLock(node);
        return null;
    }

    private void RemoveNeedsLock(LinkedListNode<Failures> node)
    {
        oldestFirst.Remove(node);
        byAddress.Remove(node.Value.Network);
    }

    private sealed class Failures(IPAddress network, long since)
    {
        public IPAddress Network => network;

        public long Since => since;

        public int Count { get; set; } = 1;
    }
}
