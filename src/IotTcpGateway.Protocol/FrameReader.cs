using System.Buffers.Binary;

namespace IotTcpGateway.Protocol;

/// <summary>What reading a frame from the front of received bytes came to.</summary>
public enum FrameReadResult
{
    /// <summary>Everything so far is right; more bytes must come.</summary>
    NeedMoreData,

    /// <summary>A whole frame with a right checksum.</summary>
    Frame,

    /// <summary>The header is right, and the body is longer than the receiver stores: it is to be skipped.</summary>
    BodyTooLarge,

    /// <summary>The first two bytes are not the magic.</summary>
    BadMagic,

    /// <summary>The version is not 1.</summary>
    BadVersion,

    /// <summary>A reserved flag is set, or TAGGED where no tags were agreed.</summary>
    BadFlags,

    /// <summary>The body is longer than the protocol allows.</summary>
    BadLength,

    /// <summary>The checksum is wrong.</summary>
    BadChecksum,
}

/// <summary>The fixed front of a frame. Source: protocol documentation, "Frame".</summary>
/// <param name="Type">The type byte; not necessarily a known one.</param>
/// <param name="BodyBytes">Length of the body.</param>
/// <param name="IsTagged">Whether a tag follows the body.</param>
/// <param name="Sequence">The sequence field.</param>
public readonly record struct FrameHeader(FrameType Type, int BodyBytes, bool IsTagged, uint Sequence)
{
    /// <summary>Bytes of the whole frame.</summary>
    public int FrameBytes => ProtocolConstants.FrameBytes(BodyBytes, IsTagged);
}

/// <summary>A whole frame with a right checksum, lying in the bytes it was read from.</summary>
public readonly ref struct Frame
{
    internal Frame(FrameHeader header, ReadOnlySpan<byte> bytes)
    {
        Header = header;
        Bytes = bytes;
    }

    /// <summary>The header.</summary>
    public FrameHeader Header { get; }

    /// <summary>All bytes of the frame.</summary>
    public ReadOnlySpan<byte> Bytes { get; }

    /// <summary>The body.</summary>
    public ReadOnlySpan<byte> Body => Bytes.Slice(ProtocolConstants.HeaderBytes, Header.BodyBytes);

    /// <summary>Header and body: what a tag signs.</summary>
    public ReadOnlySpan<byte> Signed => Bytes[..(ProtocolConstants.HeaderBytes + Header.BodyBytes)];

    /// <summary>The tag; empty if the frame has none.</summary>
    public ReadOnlySpan<byte> Tag => Header.IsTagged
        ? Bytes.Slice(ProtocolConstants.HeaderBytes + Header.BodyBytes, ProtocolConstants.TagBytes)
        : default;
}

/// <summary>Finds frames in a stream of bytes. Pure: it keeps nothing, allocates nothing and never throws.</summary>
public static class FrameReader
{
    private const ushort TaggedFlag = 1;

    /// <summary>Looks for a frame at the front of <paramref name="input"/>, without regard to what it holds.</summary>
    /// <param name="input">Bytes received and not yet consumed, from a frame boundary on.</param>
    /// <param name="bodyBytesLegal">Longest body that the protocol allows at this moment; beyond is BadLength.</param>
    /// <param name="bodyBytesStored">Longest body that the receiver stores; beyond is BodyTooLarge.</param>
    /// <param name="tagAllowed">Whether tags were agreed; if not, TAGGED is a bad flag.</param>
    /// <param name="frame">The frame, when the result is Frame.</param>
    /// <param name="header">The header as soon as it is complete and right; else default.</param>
    public static FrameReadResult Read(
        ReadOnlySpan<byte> input,
        int bodyBytesLegal,
        int bodyBytesStored,
        bool tagAllowed,
        out Frame frame,
        out FrameHeader header)
    {
        frame = default;
        FrameReadResult result = ReadHeader(input, bodyBytesLegal, tagAllowed, out header);
        if (result != FrameReadResult.Frame)
            return result;
        if (header.BodyBytes > bodyBytesStored)
            return FrameReadResult.BodyTooLarge;
        if (input.Length < header.FrameBytes)
            return FrameReadResult.NeedMoreData;

        ReadOnlySpan<byte> whole = input[..header.FrameBytes];
        uint expected = BinaryPrimitives.ReadUInt32LittleEndian(whole[^ProtocolConstants.ChecksumBytes..]);
        if (Crc32C.Compute(whole[..^ProtocolConstants.ChecksumBytes]) != expected)
            return FrameReadResult.BadChecksum;

        frame = new Frame(header, whole);
        return FrameReadResult.Frame;
    }

    /// <summary>Reads a frame of any legal size, tagged or not.</summary>
    public static FrameReadResult Read(ReadOnlySpan<byte> input, out Frame frame) =>
        Read(input, ProtocolConstants.BodyBytesMax, ProtocolConstants.BodyBytesMax, tagAllowed: true, out frame, out _);

    /// <summary>Reads the header alone, each byte as soon as it is there. Frame means: the header is whole.</summary>
    public static FrameReadResult ReadHeader(
        ReadOnlySpan<byte> input, int bodyBytesLegal, bool tagAllowed, out FrameHeader header)
    {
        header = default;
        if (input.Length > 0 && input[0] != ProtocolConstants.Magic0)
            return FrameReadResult.BadMagic;
        if (input.Length > 1 && input[1] != ProtocolConstants.Magic1)
            return FrameReadResult.BadMagic;
        if (input.Length > 2 && input[2] != ProtocolConstants.Version)
            return FrameReadResult.BadVersion;
        if (input.Length > 5 && BinaryPrimitives.ReadUInt16LittleEndian(input[4..]) > bodyBytesLegal)
            return FrameReadResult.BadLength;
        if (input.Length > 6 && (input[6] & ~(tagAllowed ? TaggedFlag : 0)) != 0)
            return FrameReadResult.BadFlags;
        if (input.Length > 7 && input[7] != 0)
            return FrameReadResult.BadFlags;
        if (input.Length < ProtocolConstants.HeaderBytes)
            return FrameReadResult.NeedMoreData;

        header = new FrameHeader(
            (FrameType)input[3],
            BinaryPrimitives.ReadUInt16LittleEndian(input[4..]),
            (input[6] & TaggedFlag) != 0,
            BinaryPrimitives.ReadUInt32LittleEndian(input[8..]));
        return FrameReadResult.Frame;
    }
}
