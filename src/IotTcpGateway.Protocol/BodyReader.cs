using System.Buffers.Binary;

namespace IotTcpGateway.Protocol;

/// <summary>Reads little-endian fields; past the end it answers zeros and remembers that it failed.</summary>
internal ref struct BodyReader(ReadOnlySpan<byte> body)
{
    private ReadOnlySpan<byte> rest = body;
    private bool failed;

    public readonly bool IsAtEnd => !failed && rest.IsEmpty;

    public readonly bool HasFailed => failed;

    public readonly int BytesLeft => rest.Length;

    public byte U8() => Need(sizeof(byte)) ? Take(sizeof(byte))[0] : (byte)0;

    public ushort U16() =>
        Need(sizeof(ushort)) ? BinaryPrimitives.ReadUInt16LittleEndian(Take(sizeof(ushort))) : (ushort)0;

    public uint U32() => Need(sizeof(uint)) ? BinaryPrimitives.ReadUInt32LittleEndian(Take(sizeof(uint))) : 0;

    public long I64() => Need(sizeof(long)) ? BinaryPrimitives.ReadInt64LittleEndian(Take(sizeof(long))) : 0;

    public ReadOnlySpan<byte> Take(int bytes)
    {
        if (!Need(bytes))
            return default;
        ReadOnlySpan<byte> taken = rest[..bytes];
        rest = rest[bytes..];
        return taken;
    }

    private bool Need(int bytes)
    {
        failed |= rest.Length < bytes;
        return !failed;
    }
}
