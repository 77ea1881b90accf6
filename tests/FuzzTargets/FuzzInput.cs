using System.Buffers.Binary;

namespace IotTcpGateway.Fuzz;

/// <summary>Takes decisions from an input; what is not there reads as 0 or empty.</summary>
internal ref struct FuzzInput(ReadOnlySpan<byte> input)
{
    private ReadOnlySpan<byte> left = input;

    public readonly bool IsAtEnd => left.IsEmpty;

    public byte Byte()
    {
        ReadOnlySpan<byte> taken = Bytes(1);
        return taken.IsEmpty ? (byte)0 : taken[0];
    }

    /// <summary>A number from 0 to below a limit.</summary>
    public int Below(int limit) => Byte() % limit;

    public bool Flag() => (Byte() & 1) != 0;

    public ushort UInt16() => (ushort)(Byte() | (Byte() << 8));

    public long Int64()
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        bytes.Clear();
        Bytes(bytes.Length).CopyTo(bytes);
        return BinaryPrimitives.ReadInt64LittleEndian(bytes);
    }

    /// <summary>So many bytes, or as many as there are.</summary>
    public ReadOnlySpan<byte> Bytes(int count)
    {
        ReadOnlySpan<byte> taken = left[..Math.Min(count, left.Length)];
        left = left[taken.Length..];
        return taken;
    }

    /// <summary>Bytes behind their number.</summary>
    public ReadOnlySpan<byte> Text() => Bytes(Byte());

    public ReadOnlySpan<byte> Rest() => Bytes(left.Length);
}
