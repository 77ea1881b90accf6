using System.Buffers.Binary;

namespace IotTcpGateway.Protocol;

/// <summary>Writes little-endian fields; throws <see cref="ArgumentOutOfRangeException"/> when the room ends.</summary>
internal ref struct BodyWriter(Span<byte> destination)
{
    private readonly Span<byte> destination = destination;

    public int Written { get; private set; }

    public void U8(byte value) => Next(sizeof(byte))[0] = value;

    public void U16(ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(Next(sizeof(ushort)), value);

    public void U32(uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Next(sizeof(uint)), value);

    public void I64(long value) => BinaryPrimitives.WriteInt64LittleEndian(Next(sizeof(long)), value);

    public void Put(scoped ReadOnlySpan<byte> bytes) => bytes.CopyTo(Next(bytes.Length));

    private Span<byte> Next(int bytes)
    {
        Span<byte> next = destination.Slice(Written, bytes);
        Written += bytes;
        return next;
    }
}
