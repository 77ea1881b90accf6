using System.Buffers.Binary;

namespace IotTcpGateway.Protocol;

/// <summary>Writes whole frames. The destination must hold <see cref="ProtocolConstants.FrameBytes"/>.</summary>
public static class FrameWriter
{
    /// <summary>Writes a frame around a body.</summary>
    /// <param name="destination">Where the frame goes. The body may already lie at its place, 12 bytes in.</param>
    /// <param name="type">The type.</param>
    /// <param name="sequence">The sequence field.</param>
    /// <param name="body">The body.</param>
    /// <param name="tagger">Signs the frame; null for a frame without a tag.</param>
    /// <returns>Bytes of the frame.</returns>
    public static int Write(
        Span<byte> destination, FrameType type, uint sequence, ReadOnlySpan<byte> body, FrameTagger? tagger = null)
    {
        body.CopyTo(destination[ProtocolConstants.HeaderBytes..]);
        return Finish(destination, type, sequence, body.Length, tagger);
    }

    /// <summary>Writes header, tag and checksum around a body that already lies 12 bytes in.</summary>
    public static int Finish(
        Span<byte> destination, FrameType type, uint sequence, int bodyBytes, FrameTagger? tagger = null)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(bodyBytes, ProtocolConstants.BodyBytesMax);
        destination[0] = ProtocolConstants.Magic0;
        destination[1] = ProtocolConstants.Magic1;
        destination[2] = ProtocolConstants.Version;
        destination[3] = (byte)type;
        BinaryPrimitives.WriteUInt16LittleEndian(destination[4..], (ushort)bodyBytes);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[6..], (ushort)(tagger is null ? 0 : 1));
        BinaryPrimitives.WriteUInt32LittleEndian(destination[8..], sequence);
        int end = ProtocolConstants.HeaderBytes + bodyBytes;
        if (tagger is not null)
        {
            tagger.Begin();
            tagger.Append(destination[..end]);
            tagger.Finish(destination.Slice(end, ProtocolConstants.TagBytes));
            end += ProtocolConstants.TagBytes;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(destination[end..], Crc32C.Compute(destination[..end]));
        return end + ProtocolConstants.ChecksumBytes;
    }

    /// <summary>Writes an ACK; returns its length.</summary>
    public static int WriteAck(Span<byte> destination, uint sequence, ushort window, FrameTagger? tagger = null)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(destination[ProtocolConstants.HeaderBytes..], window);
        return Finish(destination, FrameType.Ack, sequence, sizeof(ushort), tagger);
    }

    /// <summary>Writes a BYE; returns its length.</summary>
    public static int WriteBye(Span<byte> destination, ByeReason reason, FrameTagger? tagger = null)
    {
        destination[ProtocolConstants.HeaderBytes] = (byte)reason;
        return Finish(destination, FrameType.Bye, 0, sizeof(byte), tagger);
    }
}
