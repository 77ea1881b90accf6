using System.Security.Cryptography;

namespace IotTcpGateway.Journal;

/// <summary>
/// The sizes of a journal. Other sizes than at the last start are fine: what is on disk stays readable.
/// </summary>
public sealed class JournalOptions
{
    /// <summary>The largest <see cref="SegmentBytes"/>.</summary>
    public const int SegmentBytesMax = 256 * 1024 * 1024;

    /// <summary>
    /// Bytes that all segments together may have; a hard cap. Cursor, reserve and broken copies come beside it.
    /// </summary>
    public long BytesMax { get; set; } = 256 * 1024 * 1024;

    /// <summary>Bytes of a segment, the unit in which room is freed.</summary>
    public int SegmentBytes { get; set; } = 8 * 1024 * 1024;

    /// <summary>Zeros are written ahead of the records in steps of so many bytes.</summary>
    public int PreallocateBytes { get; set; } = 1024 * 1024;

    /// <summary>Bytes of memory that records may take between two commits.</summary>
    public int CommitBytesMax { get; set; } = 512 * 1024;

    /// <summary>Bytes of the largest payload, at most 256 KiB.</summary>
    public int PayloadBytesMax { get; set; } = 128 * 1024;

    /// <summary>Bytes that copies of what was found broken may take.</summary>
    public long BrokenBytesMax { get; set; } = 1024 * 1024;

    /// <summary>
    /// Whether segments in which everything is settled go at the start; otherwise with the first <see
    /// cref="RecordJournal.Trim"/>, before which the caller may write what is needed of them again.
    /// </summary>
    public bool IsTrimmedAtStart { get; set; } = true;

    /// <summary>Where the nonce of a new segment comes from.</summary>
    public Func<ulong> NewNonce { get; set; } = SecureNonce;

    /// <summary>Kept on disk to be released when it is full: room for one commit and for a cursor file.</summary>
    internal int ReserveBytes => CommitBytesMax + (64 * 1024);

    /// <summary>Throws <see cref="ArgumentOutOfRangeException"/> for sizes that do not fit together.</summary>
    internal void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfNegative(PayloadBytesMax);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(PayloadBytesMax, RecordHeader.PayloadBytesMax);
        int recordBytesMax = RecordHeader.TotalBytesOf(PayloadBytesMax);
        ArgumentOutOfRangeException.ThrowIfLessThan(CommitBytesMax, recordBytesMax);
        ArgumentOutOfRangeException.ThrowIfLessThan(SegmentBytes, SegmentHeader.Bytes + recordBytesMax);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(SegmentBytes, SegmentBytesMax);
        ArgumentOutOfRangeException.ThrowIfNegative(PreallocateBytes);
        ArgumentOutOfRangeException.ThrowIfLessThan(BytesMax, SegmentBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(BrokenBytesMax);
    }

    private static ulong SecureNonce()
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        RandomNumberGenerator.Fill(bytes);
        return BitConverter.ToUInt64(bytes);
    }
}
