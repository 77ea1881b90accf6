using System.Buffers.Binary;

namespace IotTcpGateway.Buffer;

/// <summary>Writes an entry's fields one after the other.</summary>
internal ref struct EntryWriter(Span<byte> target)
{
    private readonly Span<byte> target = target;

    public int Written { get; private set; }

    public void Byte(byte value) => target[Written++] = value;

    public void UInt16(ushort value)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(target[Written..], value);
        Written += sizeof(ushort);
    }

    public void UInt32(uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(target[Written..], value);
        Written += sizeof(uint);
    }

    public void UInt48(long value)
    {
        UInt32((uint)value);
        UInt16((ushort)(value >> 32));
    }

    // Seven bits a byte, the lowest first, as in protocol buffers.
    public void VarInt(ulong value)
    {
        while (value >= 0x80)
        {
            Byte((byte)(value | 0x80));
            value >>= 7;
        }

        Byte((byte)value);
    }

    /// <summary>At most 255 bytes, behind their number.</summary>
    public void Text(ReadOnlySpan<byte> value)
    {
        Byte(checked((byte)value.Length));
        Bytes(value);
    }

    public void Bytes(ReadOnlySpan<byte> value)
    {
        value.CopyTo(target[Written..]);
        Written += value.Length;
    }
}
