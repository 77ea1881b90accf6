using IotTcpGateway.Protocol;

namespace IotTcpGateway.Buffer;

/// <summary>What an entry of a buffer's journal is.</summary>
internal enum SpilledKind
{
    /// <summary>None that this version knows.</summary>
    Unknown,

    /// <summary>A frame: <see cref="SpilledFrame"/>.</summary>
    Frame,

    /// <summary>Channels of a table: <see cref="SpilledTable"/>.</summary>
    Table,

    /// <summary>How long the gateway had run by then: <see cref="SpilledMark"/>.</summary>
    Mark,
}

/// <summary>
/// A frame as it lies in the journal, whole in itself but for its channel table. Layout: u8 kind and flags, u8 n + n B
/// device id, u32 boot id, varint sequence, varint table (0: none), arrival (u48 Unix ms, or, when the clock was not
/// synchronised, u48 Unix ms, varint monotonic µs, u32 of the host's boot), reason when it is in quarantine (u8 n + n B
/// UTF-8), and the DATA body to the end. Little-endian.
/// </summary>
internal readonly ref struct SpilledFrame
{
    /// <summary>Most bytes in front of a body.</summary>
    public const int OverheadBytesMax = 1 + 1 + ProtocolConstants.NameBytesMax + 4 + 5 + 5 + 6 + 10 + 4 + 1 + ReasonBytesMax;

    /// <summary>Most bytes of a reason.</summary>
    public const int ReasonBytesMax = 64;

    public required ReadOnlySpan<byte> DeviceId { get; init; }

    public required uint BootId { get; init; }

    public required uint Sequence { get; init; }

    /// <summary>Number of the channel table within the journal; 0 for none.</summary>
    public required uint Table { get; init; }

    public required Arrival Arrival { get; init; }

    /// <summary>
    /// Which boot of the host the monotonic clock is of; meaningless when the wall clock was synchronised.
    /// </summary>
    public uint HostBoot { get; init; }

    /// <summary>Why it is in quarantine; empty elsewhere.</summary>
    public ReadOnlySpan<byte> Reason { get; init; }

    public required ReadOnlySpan<byte> Body { get; init; }

    /// <summary>Writes it; returns the bytes.</summary>
    public int Write(Span<byte> target)
    {
        var writer = new EntryWriter(target);
        byte flags = (byte)((Arrival.IsSynchronised ? EntryTag.Synchronised : 0) | (Reason.IsEmpty ? 0 : EntryTag.HasReason));
        writer.Byte((byte)(EntryTag.Frame | flags));
        writer.Text(DeviceId);
        writer.UInt32(BootId);
        writer.VarInt(Sequence);
        writer.VarInt(Table);
        writer.UInt48(Arrival.UnixMilliseconds);
        if (!Arrival.IsSynchronised)
        {
            writer.VarInt((ulong)Arrival.MonotonicMicroseconds);
            writer.UInt32(HostBoot);
        }

        if (!Reason.IsEmpty)
            writer.Text(Reason);
        writer.Bytes(Body);
        return writer.Written;
    }

    /// <summary>Reads it; false if it is none, or damaged. It points into the source.</summary>
    public static bool TryRead(ReadOnlySpan<byte> source, out SpilledFrame frame)
    {
        frame = default;
        var reader = new EntryReader(source);
        byte tag = reader.Byte();
        if (EntryTag.KindOf(tag) != SpilledKind.Frame)
            return false;
        bool isSynchronised = (tag & EntryTag.Synchronised) != 0;
        ReadOnlySpan<byte> deviceId = reader.Text();
        uint bootId = reader.UInt32();
        ulong sequence = reader.VarInt();
        ulong table = reader.VarInt();
        long unixMilliseconds = reader.UInt48();
        ulong monotonic = isSynchronised ? 0 : reader.VarInt();
        uint hostBoot = isSynchronised ? 0 : reader.UInt32();
        ReadOnlySpan<byte> reason = (tag & EntryTag.HasReason) != 0 ? reader.Text() : default;
        if (reader.IsBroken || sequence is 0 or > uint.MaxValue || table > uint.MaxValue || monotonic > long.MaxValue
            || reason.Length > ReasonBytesMax
            || !(Names.IsDeviceId(deviceId) || deviceId.SequenceEqual("local"u8)))
        {
            return false;
        }

        frame = new SpilledFrame
        {
            DeviceId = deviceId,
            BootId = bootId,
            Sequence = (uint)sequence,
            Table = (uint)table,
            Arrival = new Arrival(unixMilliseconds, (long)monotonic, isSynchronised),
            HostBoot = hostBoot,
            Reason = reason,
            Body = reader.Rest(),
        };
        return true;
    }

    /// <summary>What an entry is, by its first byte.</summary>
    public static SpilledKind KindOf(ReadOnlySpan<byte> entry) =>
        entry.IsEmpty ? SpilledKind.Unknown : EntryTag.KindOf(entry[0]);
}
