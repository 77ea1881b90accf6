using System.Collections.Frozen;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Buffer;

/// <summary>A described channel.</summary>
internal sealed record Channel(ushort Number, DataType Type, string Name, string Unit);

/// <summary>The channels of a connection at one moment; immutable, so that a record keeps the names it arrived under.</summary>
internal sealed class ChannelTable
{
    public static readonly ChannelTable Empty = new([]);

    private readonly FrozenDictionary<ushort, Channel> byNumber;

    private ChannelTable(IEnumerable<Channel> channels)
    {
        byNumber = channels.ToFrozenDictionary(c => c.Number);
        Channels = [.. byNumber.Values.OrderBy(c => c.Number)];
        ApproximateBytes = 128 + Channels.Sum(c => 160L + (2 * (c.Name.Length + c.Unit.Length)));
    }

    /// <summary>In order of their numbers.</summary>
    public IReadOnlyList<Channel> Channels { get; }

    /// <summary>Memory it takes, roughly.</summary>
    public long ApproximateBytes { get; }

    /// <summary>The channel of this number, if it was described.</summary>
    public Channel? Find(ushort number) => byNumber.GetValueOrDefault(number);

    /// <summary>A table with these entries added or changed; the last entry for a channel wins.</summary>
    public ChannelTable With(IEnumerable<Channel> entries)
    {
        var merged = new Dictionary<ushort, Channel>(byNumber);
        foreach (Channel entry in entries)
        {
            merged[entry.Number] = entry;
        }

        return new ChannelTable(merged.Values);
    }
}
