using System.Buffers.Binary;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Ingest;

/// <summary>
/// A DATA frame whose body is larger than accepted: it passes by without being stored, and its tag and checksum are
/// checked all the same, so that the frame boundary is known to be right.
/// </summary>
internal sealed class OversizedFrame
{
    private readonly FrameTagger? tagger;
    private readonly byte[] tail = new byte[ProtocolConstants.TagBytes + ProtocolConstants.ChecksumBytes];
    private readonly int tailBytes;
    private uint checksum = Crc32C.Initial;
    private int signedLeft;
    private int tailFilled;

    /// <summary>Begins before the header's first byte was given to <see cref="Append"/>.</summary>
    public OversizedFrame(FrameHeader header, FrameTagger? tagger)
    {
        Header = header;
        this.tagger = header.IsTagged ? tagger : null;
        signedLeft = ProtocolConstants.HeaderBytes + header.BodyBytes;
        tailBytes = header.FrameBytes - signedLeft;
        this.tagger?.Begin();
    }

    public FrameHeader Header { get; }

    public bool IsComplete => signedLeft == 0 && tailFilled == tailBytes;

    public bool HasRightChecksum =>
        Crc32C.Finish(Crc32C.Append(checksum, tail.AsSpan(0, tailBytes - ProtocolConstants.ChecksumBytes)))
        == BinaryPrimitives.ReadUInt32LittleEndian(tail.AsSpan(tailBytes - ProtocolConstants.ChecksumBytes));

    /// <summary>Takes what belongs to the frame; returns how many bytes that was.</summary>
    public int Append(ReadOnlySpan<byte> bytes)
    {
        int fromSigned = Math.Min(signedLeft, bytes.Length);
        checksum = Crc32C.Append(checksum, bytes[..fromSigned]);
        tagger?.Append(bytes[..fromSigned]);
        signedLeft -= fromSigned;
        int fromTail = Math.Min(tailBytes - tailFilled, bytes.Length - fromSigned);
        bytes.Slice(fromSigned, fromTail).CopyTo(tail.AsSpan(tailFilled));
        tailFilled += fromTail;
        return fromSigned + fromTail;
    }

    /// <summary>Whether the tag is right; call once, when complete.</summary>
    public bool HasRightTag() => tagger?.Matches(tail.AsSpan(0, ProtocolConstants.TagBytes)) ?? true;
}
