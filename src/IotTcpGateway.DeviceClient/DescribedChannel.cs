using System.Text;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>The name and unit of a channel.</summary>
/// <param name="Channel">The number that DATA records carry.</param>
/// <param name="Type">The type that its values usually have; a record's own type rules.</param>
/// <param name="Name">1–64 of <c>A–Z a–z 0–9 . _ - /</c>: levels without empty ones, the first not
/// <c>meta</c>, <c>status</c>, <c>command</c>, <c>result</c> or <c>gaps</c>.</param>
/// <param name="Unit">Up to 32 bytes of UTF-8, such as <c>°C</c>; may be empty.</param>
public readonly record struct DescribedChannel(ushort Channel, DataType Type, string Name, string Unit);

/// <summary>The channels of a device, as they go into DESCRIBE.</summary>
internal sealed class ChannelList
{
    private readonly record struct Entry(ushort Channel, DataType Type, byte[] Name, byte[] Unit);

    private readonly List<Entry> entries = [];

    public ChannelList(IReadOnlyList<DescribedChannel> channels) => Add(channels);

    /// <summary>
    /// Takes channels in; throws <see cref="ArgumentException"/>, and takes none, if one breaks a rule.
    /// </summary>
    public void Add(IReadOnlyList<DescribedChannel> channels)
    {
        Entry[] added = [.. channels.Select(ToEntry)];
        foreach (Entry entry in added)
        {
            int known = entries.FindIndex(e => e.Channel == entry.Channel);
            if (known < 0)
                entries.Add(entry);
            else
                entries[known] = entry;
        }
    }

    /// <summary>As many bodies as it takes; an entry that no body accepted can hold stays without a name.</summary>
    public IEnumerable<byte[]> ToBodies(int bodyBytesMax)
    {
        var room = new byte[bodyBytesMax];
        int done = 0;
        while (done < entries.Count)
        {
            byte[] body = NextBody(room, ref done);
            if (body.Length > 0)
                yield return body;
        }
    }

    private byte[] NextBody(Span<byte> room, ref int done)
    {
        if (room.IsEmpty)
        {
            done = entries.Count;
            return [];
        }

        var writer = new DescribeWriter(room);
        int first = done;
        while (done < entries.Count)
        {
            Entry entry = entries[done];
            if (!writer.TryAdd(entry.Channel, entry.Type, entry.Name, entry.Unit))
                break;
            done++;
        }

        if (done > first)
            return room[..writer.Written].ToArray();
        done++;
        return [];
    }

    private static Entry ToEntry(DescribedChannel channel)
    {
        byte[] name = Encoding.UTF8.GetBytes(channel.Name);
        byte[] unit = Encoding.UTF8.GetBytes(channel.Unit);
        if (!Names.IsChannelName(name))
            throw new ArgumentException($"channel {channel.Channel}: '{channel.Name}' is not a channel name");
        if (unit.Length > ProtocolConstants.UnitBytesMax)
            throw new ArgumentException($"channel {channel.Channel}: the unit '{channel.Unit}' is over 32 bytes");
        if (!DataTypes.IsKnown((byte)channel.Type))
            throw new ArgumentException($"channel {channel.Channel}: value type {(byte)channel.Type} is not known");
        return new Entry(channel.Channel, channel.Type, name, unit);
    }
}
