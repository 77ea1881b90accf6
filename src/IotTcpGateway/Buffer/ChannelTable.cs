using IotTcpGateway.Protocol;

namespace IotTcpGateway.Buffer;

/// <summary>A described channel.</summary>
internal sealed record Channel(ushort Number, DataType Type, string Name, string Unit);

/// <summary>
/// The channels of a connection at one moment; immutable, so that a record keeps the names it arrived under.
/// </summary>
internal sealed class ChannelTable
{
    public static readonly ChannelTable Empty = new([]);

    /// <summary>Tables are equal if they say the same.</summary>
    public static readonly IEqualityComparer<ChannelTable> ByContent = EqualityComparer<ChannelTable>.Create(
        (one, other) => one is not null && other is not null && one.inOrder.AsSpan().SequenceEqual(other.inOrder),
        table => table.contentHash);

    private readonly Channel[] inOrder;
    private readonly int contentHash;

    private ChannelTable(Channel[] inOrder)
    {
        this.inOrder = inOrder;
        var hash = default(HashCode);
        foreach (Channel channel in inOrder)
            hash.Add(channel);
        contentHash = hash.ToHashCode();
        ApproximateBytes = 128 + inOrder.Sum(c => 160L + (2 * (c.Name.Length + c.Unit.Length)));
    }

    /// <summary>In order of their numbers.</summary>
    public IReadOnlyList<Channel> Channels => inOrder;

    /// <summary>Memory it takes, roughly.</summary>
    public long ApproximateBytes { get; }

    /// <summary>The channel of this number, if it was described.</summary>
    public Channel? Find(ushort number)
    {
        int low = 0, high = inOrder.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            int difference = inOrder[middle].Number - number;
            if (difference == 0)
                return inOrder[middle];
            if (difference < 0)
                low = middle + 1;
            else
                high = middle - 1;
        }

        return null;
    }

    /// <summary>A table with these entries added or changed; the last entry for a channel wins.</summary>
    public ChannelTable With(IEnumerable<Channel> entries)
    {
        var merged = new SortedDictionary<ushort, Channel>();
        foreach (Channel entry in inOrder.Concat(entries))
            merged[entry.Number] = entry;
        return new ChannelTable([.. merged.Values]);
    }
}
