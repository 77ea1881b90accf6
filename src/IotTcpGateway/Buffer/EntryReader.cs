using System.Buffers.Binary;

namespace IotTcpGateway.Buffer;

/// <summary>Reads an entry's fields; what is not there reads as 0 or empty and marks it as broken.</summary>
internal ref struct EntryReader(ReadOnlySpan<byte> source)
{
    private ReadOnlySpan<byte> left = source;

    public bool IsBroken { get; private set; }

    public readonly bool IsAtEnd => left.IsEmpty;

    public byte Byte()
    {
        ReadOnlySpan<byte> bytes = Take(1);
        return bytes.IsEmpty ? (byte)0 : bytes[0];
    }

    public ushort UInt16()
    {
        ReadOnlySpan<byte> bytes = Take(sizeof(ushort));
        return bytes.IsEmpty ? (ushort)0 : BinaryPrimitives.ReadUInt16LittleEndian(bytes);
    }

    public uint UInt32()
    {
        ReadOnlySpan<byte> bytes = Take(sizeof(uint));
        return bytes.IsEmpty ? 0 : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }

    public long UInt48() => UInt32() | ((long)UInt16() << 32);

    public ulong VarInt()
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            byte next = Byte();
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
                return value;
        }

        IsBroken = true;
        return 0;
    }

    public ReadOnlySpan<byte> Text() => Take(Byte());

    public ReadOnlySpan<byte> Rest()
    {
        ReadOnlySpan<byte> rest = left;
        left = default;
        return rest;
    }

    private ReadOnlySpan<byte> Take(int bytes)
    {
        if (IsBroken || bytes > left.Length)
        {
            IsBroken = true;
            left = default;
            return default;
        }

        ReadOnlySpan<byte> taken = left[..bytes];
        left = left[bytes..];
        return taken;
    }
}
