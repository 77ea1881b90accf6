using System.Buffers.Binary;

namespace IotTcpGateway.Tls;

/// <summary>A certificate's serial number: at most 20 bytes (RFC 5280, 4.1.2.2), kept without an allocation.</summary>
internal readonly record struct SerialNumber(uint High, ulong Middle, ulong Low) : IComparable<SerialNumber>
{
    public const int BytesMax = 20;

    /// <summary>Reads big-endian bytes, leading zeros allowed; false if it is longer than it may be.</summary>
    public static bool TryRead(ReadOnlySpan<byte> bigEndian, out SerialNumber number)
    {
        number = default;
        bigEndian = bigEndian.TrimStart((byte)0);
        if (bigEndian.Length > BytesMax)
            return false;
        Span<byte> full = stackalloc byte[BytesMax];
        full.Clear();
        bigEndian.CopyTo(full[(BytesMax - bigEndian.Length)..]);
        number = new SerialNumber(
            BinaryPrimitives.ReadUInt32BigEndian(full),
            BinaryPrimitives.ReadUInt64BigEndian(full[4..]),
            BinaryPrimitives.ReadUInt64BigEndian(full[12..]));
        return true;
    }

    /// <inheritdoc/>
    public int CompareTo(SerialNumber other)
    {
        int order = High.CompareTo(other.High);
        if (order == 0)
            order = Middle.CompareTo(other.Middle);
        return order == 0 ? Low.CompareTo(other.Low) : order;
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        string text = $"{High:X8}{Middle:X16}{Low:X16}".TrimStart('0');
        return text.Length == 0 ? "00" : text.Length % 2 == 0 ? text : "0" + text;
    }
}
