using System.Buffers.Binary;
using System.Numerics;

namespace IotTcpGateway.Journal;

/// <summary>CRC-32C (Castagnoli, reflected, initial and final XOR FFFFFFFF), as of RFC 3720 appendix B.4.</summary>
internal static class Crc32C
{
    private const uint Initial = 0xFFFF_FFFF;

    public static uint Compute(ReadOnlySpan<byte> bytes) => ~Append(Initial, bytes);

    /// <summary>The checksum of two 64-bit numbers in little-endian order, and then of the bytes.</summary>
    public static uint Compute(ulong first, ulong second, ReadOnlySpan<byte> bytes) =>
        ~Append(BitOperations.Crc32C(BitOperations.Crc32C(Initial, first), second), bytes);

    private static uint Append(uint state, ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length >= sizeof(ulong))
        {
            state = BitOperations.Crc32C(state, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[sizeof(ulong)..];
        }

        foreach (byte b in bytes)
            state = BitOperations.Crc32C(state, b);
        return state;
    }
}
