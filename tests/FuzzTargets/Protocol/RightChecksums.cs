using System.Buffers.Binary;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Fuzz.Protocol;

/// <summary>Gives every whole frame of a stream its right checksum: no mutation would ever find one.</summary>
internal static class RightChecksums
{
    public static void Make(Span<byte> stream)
    {
        while (FrameReader.ReadHeader(stream, ushort.MaxValue, tagAllowed: true, out FrameHeader header)
            == FrameReadResult.Frame && stream.Length >= header.FrameBytes)
        {
            int end = header.FrameBytes - ProtocolConstants.ChecksumBytes;
            BinaryPrimitives.WriteUInt32LittleEndian(stream[end..], Crc32C.Compute(stream[..end]));
            stream = stream[header.FrameBytes..];
        }
    }
}
