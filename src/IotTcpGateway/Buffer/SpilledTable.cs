using System.Text;
using System.Text.Unicode;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Buffer;

/// <summary>
/// Channels of a table, or a part of them: a large one takes several entries. Layout: u8 kind, varint number of the
/// table, then per channel u16 number, u8 type, u8 n + n B name, u8 m + m B unit to the end.
/// </summary>
internal static class SpilledTable
{
    /// <summary>Entries are not made larger, but for a single channel.</summary>
    public const int EntryBytesMax = 4096;

    private const int ChannelBytesMax = 2 + 1 + 1 + 255 + 1 + 255;

    /// <summary>
    /// Writes channels from <paramref name="first"/> on; returns the bytes, and which channel is next.
    /// </summary>
    public static int Write(Span<byte> target, uint number, IReadOnlyList<Channel> channels, ref int first)
    {
        var writer = new EntryWriter(target);
        writer.Byte(EntryTag.Table);
        writer.VarInt(number);
        while (first < channels.Count && writer.Written + ChannelBytesMax <= EntryBytesMax)
        {
            Channel channel = channels[first++];
            writer.UInt16(channel.Number);
            writer.Byte((byte)channel.Type);
            writer.Text(Encoding.UTF8.GetBytes(channel.Name));
            writer.Text(Encoding.UTF8.GetBytes(channel.Unit));
        }

        return writer.Written;
    }

    /// <summary>Reads an entry; false if it is none, or damaged.</summary>
    public static bool TryRead(ReadOnlySpan<byte> source, out uint number, out List<Channel> channels)
    {
        channels = [];
        var reader = new EntryReader(source);
        bool isTable = EntryTag.KindOf(reader.Byte()) == SpilledKind.Table;
        ulong read = reader.VarInt();
        number = (uint)read;
        if (!isTable || read is 0 or > uint.MaxValue)
            return false;
        while (!reader.IsBroken && !reader.IsAtEnd)
        {
            ushort channel = reader.UInt16();
            byte type = reader.Byte();
            ReadOnlySpan<byte> name = reader.Text();
            ReadOnlySpan<byte> unit = reader.Text();
            // What is not text would come out longer than it can be written again.
            if (reader.IsBroken || !DataTypes.IsKnown(type) || !Utf8.IsValid(name) || !Utf8.IsValid(unit))
                return false;
            channels.Add(new Channel(
                channel, (DataType)type, Encoding.UTF8.GetString(name), Encoding.UTF8.GetString(unit)));
        }

        return !reader.IsBroken;
    }
}
