using System.Buffers.Binary;

namespace IotTcpGateway.Journal;

/// <summary>What the first 64 bytes of a segment are.</summary>
internal enum SegmentHeaderKind
{
    Valid,

    /// <summary>A header of a version that this program does not know.</summary>
    OtherVersion,

    /// <summary>A whole header of another segment than the file's name says.</summary>
    OtherSegment,

    Damaged,
}

/// <summary>The first 64 bytes of a segment.</summary>
/// <param name="Number">Orders the segments.</param>
/// <param name="Nonce">Random; every checksum in the segment is bound to it.</param>
/// <param name="FirstId">Id of its first record; records with this id or a higher one in older segments do not
/// count.</param>
/// <param name="SkippedIds">How many ids before the first were never given to a record that counts.</param>
/// <param name="IsFirstOfRun">Begun by a start of the program, which proves nothing of the segment before it.</param>
internal readonly record struct SegmentHeader(
    ulong Number, ulong Nonce, long FirstId, long SkippedIds, bool IsFirstOfRun)
{
    public const int Bytes = 64;
    public const ushort Version = 1;

    private const int ChecksumAt = 60;
    private const uint FirstOfRunFlag = 1;

    private static ReadOnlySpan<byte> Magic => "ITGJSEG\n"u8;

    public void Write(Span<byte> bytes)
    {
        bytes[..Bytes].Clear();
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[8..], Version);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[10..], Bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], IsFirstOfRun ? FirstOfRunFlag : 0);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[16..], Number);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[24..], Nonce);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[32..], FirstId);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[40..], SkippedIds);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[ChecksumAt..], Crc32C.Compute(bytes[..ChecksumAt]));
    }

    public static SegmentHeaderKind Read(ReadOnlySpan<byte> bytes, SegmentName name, out SegmentHeader header)
    {
        header = new SegmentHeader(
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[24..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[32..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[40..]),
            (BinaryPrimitives.ReadUInt32LittleEndian(bytes[12..]) & FirstOfRunFlag) != 0);
        if (BinaryPrimitives.ReadUInt32LittleEndian(bytes[ChecksumAt..]) != Crc32C.Compute(bytes[..ChecksumAt])
            || !bytes.StartsWith(Magic))
        {
            return SegmentHeaderKind.Damaged;
        }

        if (BinaryPrimitives.ReadUInt16LittleEndian(bytes[8..]) != Version)
            return SegmentHeaderKind.OtherVersion;
        bool isOfThisSegment = header.Number == name.Number && header.Nonce == name.Nonce
            && header.FirstId > 0 && header.SkippedIds >= 0 && header.SkippedIds < header.FirstId;
        return isOfThisSegment ? SegmentHeaderKind.Valid : SegmentHeaderKind.OtherSegment;
    }
}
