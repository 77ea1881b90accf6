namespace IotTcpGateway.Protocol;

/// <summary>One entry of DESCRIBE.</summary>
public readonly ref struct ChannelDescription
{
    /// <summary>The channel's number.</summary>
    public required ushort Channel { get; init; }

    /// <summary>The type its values usually have.</summary>
    public required DataType Type { get; init; }

    /// <summary>Name, checked by <see cref="Names.IsChannelName"/>.</summary>
    public required ReadOnlySpan<byte> Name { get; init; }

    /// <summary>Unit, up to 32 bytes of UTF-8; may be empty.</summary>
    public required ReadOnlySpan<byte> Unit { get; init; }
}

/// <summary>Reads a DESCRIBE body entry by entry. Check the body with <see cref="IsValid"/> first.</summary>
public ref struct DescribeReader
{
    private BodyReader reader;
    private int left;

    /// <summary>Starts at the first entry.</summary>
    public DescribeReader(ReadOnlySpan<byte> body)
    {
        reader = new BodyReader(body);
        left = Count = reader.U8();
    }

    /// <summary>Entries announced.</summary>
    public int Count { get; }

    /// <summary>Whether a body is a whole and legal DESCRIBE.</summary>
    public static bool IsValid(ReadOnlySpan<byte> body)
    {
        var entries = new DescribeReader(body);
        while (entries.TryRead(out _))
        {
        }

        return entries.left == 0 && entries.reader.IsAtEnd;
    }

    /// <summary>Reads the next entry; false at the end, and from the first fault on.</summary>
    public bool TryRead(out ChannelDescription entry)
    {
        entry = default;
        if (left <= 0)
            return false;
        ushort channel = reader.U16();
        byte type = reader.U8();
        ReadOnlySpan<byte> name = reader.Take(reader.U8());
        ReadOnlySpan<byte> unit = reader.Take(reader.U8());
        if (reader.HasFailed || !DataTypes.IsKnown(type) || !Names.IsChannelName(name)
            || unit.Length > ProtocolConstants.UnitBytesMax || !System.Text.Unicode.Utf8.IsValid(unit))
        {
            // Behind a fault nothing says where the next entry begins.
            left = -1;
            return false;
        }

        left--;
        entry = new ChannelDescription { Channel = channel, Type = (DataType)type, Name = name, Unit = unit };
        return true;
    }
}

/// <summary>Builds a DESCRIBE body.</summary>
public ref struct DescribeWriter
{
    private readonly Span<byte> destination;
    private BodyWriter writer;
    private byte count;

    /// <summary>Writes into <paramref name="destination"/>.</summary>
    public DescribeWriter(Span<byte> destination)
    {
        this.destination = destination;
        writer = new BodyWriter(destination);
        writer.U8(0);
    }

    /// <summary>Length of the body so far.</summary>
    public readonly int Written => writer.Written;

    /// <summary>
    /// Adds an entry; false, and nothing is written, if there is no room for it or 255 are in. A type, name or unit
    /// that the protocol does not allow is an <see cref="ArgumentException"/>.
    /// </summary>
    public bool TryAdd(ushort channel, DataType type, ReadOnlySpan<byte> name, ReadOnlySpan<byte> unit)
    {
        if (!DataTypes.IsKnown((byte)type))
            throw new ArgumentOutOfRangeException(nameof(type), type, "not a value type");
        if (!Names.IsChannelName(name))
            throw new ArgumentException("not a channel name", nameof(name));
        if (unit.Length > ProtocolConstants.UnitBytesMax || !System.Text.Unicode.Utf8.IsValid(unit))
            throw new ArgumentException("not a unit: up to 32 bytes of UTF-8", nameof(unit));
        if (count == byte.MaxValue || writer.Written + 5 + name.Length + unit.Length > destination.Length)
            return false;
        writer.U16(channel);
        writer.U8((byte)type);
        writer.U8((byte)name.Length);
        writer.Put(name);
        writer.U8((byte)unit.Length);
        writer.Put(unit);
        destination[0] = ++count;
        return true;
    }
}
