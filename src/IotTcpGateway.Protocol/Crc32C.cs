using System.Buffers.Binary;
using System.Numerics;

namespace IotTcpGateway.Protocol;

/// <summary>CRC-32C (Castagnoli, reflected, initial and final XOR FFFFFFFF), as of RFC 3720 appendix B.4.</summary>
public static class Crc32C
{
    /// <summary>The state before any byte.</summary>
    public const uint Initial = 0xFFFF_FFFF;

    /// <summary>The checksum of <paramref name="bytes"/>; of the ASCII bytes "123456789" it is E3069283.</summary>
    public static uint Compute(ReadOnlySpan<byte> bytes) => Finish(Append(Initial, bytes));

    /// <summary>Takes further bytes into a running state that began as <see cref="Initial"/>.</summary>
    public static uint Append(uint state, ReadOnlySpan<byte> bytes)
    {
        while (bytes.Length >= sizeof(ulong))
        {
            state = BitOperations.Crc32C(state, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
            bytes = bytes[sizeof(ulong)..];
        }

        foreach (byte b in bytes)
        {
            state = BitOperations.Crc32C(state, b);
        }

        return state;
    }

    /// <summary>The checksum of all bytes appended to <paramref name="state"/>.</summary>
    public static uint Finish(uint state) => ~state;
}
