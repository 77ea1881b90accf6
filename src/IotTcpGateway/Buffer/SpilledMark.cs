namespace IotTcpGateway.Buffer;

/// <summary>
/// How long the gateway had run, over all its starts, when what follows came: so that age needs no clock that survives
/// a power cut. Layout: u8 kind, varint seconds.
/// </summary>
internal static class SpilledMark
{
    public const int BytesMax = 11;

    public static int Write(Span<byte> target, long seconds)
    {
        var writer = new EntryWriter(target);
        writer.Byte(EntryTag.Mark);
        writer.VarInt((ulong)seconds);
        return writer.Written;
    }

    public static bool TryRead(ReadOnlySpan<byte> source, out long seconds)
    {
        var reader = new EntryReader(source);
        bool isMark = EntryTag.KindOf(reader.Byte()) == SpilledKind.Mark;
        seconds = (long)reader.VarInt();
        return isMark && !reader.IsBroken && reader.IsAtEnd && seconds >= 0;
    }
}

/// <summary>The first byte of an entry: kind in the low half, flags in the high one.</summary>
internal static class EntryTag
{
    public const byte Frame = 1;
    public const byte Table = 2;
    public const byte Mark = 3;
    public const byte Synchronised = 0x10;
    public const byte HasReason = 0x20;

    public static SpilledKind KindOf(byte tag) => (tag & 0x0F) switch
    {
        Frame => SpilledKind.Frame,
        Table => SpilledKind.Table,
        Mark => SpilledKind.Mark,
        _ => SpilledKind.Unknown,
    };
}
