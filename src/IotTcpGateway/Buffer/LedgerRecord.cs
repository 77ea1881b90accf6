using System.Text;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Buffer;

/// <summary>
/// An entry as it lies in the ledger's journal. Layout: u8 1, varint number, u8 n + n B device id, u32 boot id, varint
/// from, varint to, varint count, u8 reason, u48 Unix ms (0: not known). Little-endian.
/// </summary>
internal static class LedgerRecord
{
    public const int BytesMax = 1 + 10 + 1 + ProtocolConstants.NameBytesMax + 4 + 5 + 5 + 10 + 1 + 6;

    private const byte Kind = 1;

    /// <summary>Writes it; returns the bytes.</summary>
    public static int Write(Span<byte> target, GapReport entry)
    {
        var writer = new EntryWriter(target);
        writer.Byte(Kind);
        writer.VarInt((ulong)entry.Number);
        writer.Text(Encoding.UTF8.GetBytes(entry.DeviceId));
        writer.UInt32(entry.BootId);
        writer.VarInt(entry.From);
        writer.VarInt(entry.To);
        writer.VarInt((ulong)entry.Count);
        writer.Byte((byte)entry.Reason);
        writer.UInt48(entry.UnixMilliseconds);
        return writer.Written;
    }

    /// <summary>Reads it; null if it is none, or damaged.</summary>
    public static GapReport? Read(ReadOnlySpan<byte> source)
    {
        var reader = new EntryReader(source);
        bool isEntry = reader.Byte() == Kind;
        ulong number = reader.VarInt();
        ReadOnlySpan<byte> deviceId = reader.Text();
        uint bootId = reader.UInt32();
        ulong from = reader.VarInt();
        ulong to = reader.VarInt();
        ulong count = reader.VarInt();
        var reason = (DropReason)reader.Byte();
        long unixMilliseconds = reader.UInt48();
        if (!isEntry || reader.IsBroken || !reader.IsAtEnd)
            return null;
        bool isSound = number is > 0 and <= long.MaxValue && count is > 0 and <= long.MaxValue
            && from <= to && to <= uint.MaxValue && Enum.IsDefined(reason)
            && (Names.IsDeviceId(deviceId) || deviceId.SequenceEqual("local"u8));
        if (!isSound)
            return null;
        string device = Encoding.UTF8.GetString(deviceId);
        return new GapReport(
            (long)number, device, bootId, (uint)from, (uint)to, (long)count, reason, unixMilliseconds);
    }
}
