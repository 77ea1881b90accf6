using System.Buffers.Binary;

namespace IotTcpGateway.Journal;

/// <summary>
/// The 24 bytes before a payload. Their own checksum is bound to the segment's nonce and to the place in it, so that a
/// record copied from elsewhere, or forged inside a payload by somebody who does not know the nonce, is none.
/// </summary>
internal readonly record struct RecordHeader(int PayloadBytes, long Id, uint IndexInCommit, uint BodyChecksum)
{
    public const int Bytes = 24;

    /// <summary>Every record begins at a multiple of this.</summary>
    public const int Alignment = 8;

    /// <summary>The largest payload that the format knows; a buffer of this size reads every journal.</summary>
    public const int PayloadBytesMax = 256 * 1024;

    /// <summary>Id of the first record of the same commit in this segment.</summary>
    public long FirstIdOfCommit => Id - IndexInCommit;

    public int TotalBytes => TotalBytesOf(PayloadBytes);

    public static int TotalBytesOf(int payloadBytes) => (Bytes + payloadBytes + Alignment - 1) & -Alignment;

    /// <summary>Reads a header at a place of a segment; false when there is none.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bytes, ulong nonce, long offset, out RecordHeader header)
    {
        header = new RecordHeader(
            BinaryPrimitives.ReadInt32LittleEndian(bytes[4..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[20..]));
        return BinaryPrimitives.ReadUInt32LittleEndian(bytes) == Crc32C.Compute(nonce, (ulong)offset, bytes[4..Bytes])
            && header.PayloadBytes is >= 0 and <= PayloadBytesMax
            && header.Id > 0
            && header.IndexInCommit < header.Id;
    }

    /// <summary>Whether the padded payload is the one that was written under this header.</summary>
    public bool IsBodyIntact(ReadOnlySpan<byte> body, ulong nonce) =>
        BodyChecksum == Crc32C.Compute(nonce, (ulong)Id, body);

    /// <summary>Writes the header before a payload that is already in its place, padding included.</summary>
    public static void Write(Span<byte> record, ulong nonce, long offset, int payloadBytes, long id, uint indexInCommit)
    {
        BinaryPrimitives.WriteInt32LittleEndian(record[4..], payloadBytes);
        BinaryPrimitives.WriteInt64LittleEndian(record[8..], id);
        BinaryPrimitives.WriteUInt32LittleEndian(record[16..], indexInCommit);
        BinaryPrimitives.WriteUInt32LittleEndian(record[20..], Crc32C.Compute(nonce, (ulong)id, record[Bytes..]));
        BinaryPrimitives.WriteUInt32LittleEndian(record, Crc32C.Compute(nonce, (ulong)offset, record[4..Bytes]));
    }
}
