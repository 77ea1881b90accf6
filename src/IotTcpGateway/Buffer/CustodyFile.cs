using System.Buffers.Binary;
using System.Text;

using IotTcpGateway.Journal;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Buffer;

/// <summary>What was safe of a boot of a device.</summary>
internal readonly record struct CustodyEntry(string DeviceId, uint BootId, int Priority, uint SafeSequence);

/// <summary>
/// What an orderly stop leaves for the next start: what was safe of every boot, and how long the gateway had run. It
/// may be old and is never wrong, because what was safe stays safe. Layout: 8 bytes magic, varint seconds, per boot
/// u8 n + n B device id, u32 boot id, u8 priority, varint safe sequence, and CRC-32C of all before it.
/// </summary>
internal static class CustodyFile
{
    public const string Name = "custody";

    private const string Temporary = Name + ".tmp";
    private const int EntryBytesMax = 1 + ProtocolConstants.NameBytesMax + 4 + 1 + 5;
    private const int ChecksumBytes = 4;
    private const long BytesMax = 256L << 20;

    private static ReadOnlySpan<byte> Magic => "ITGCUST\n"u8;

    /// <summary>Whether a file of this name is the custody, or what was left of writing it.</summary>
    public static bool IsOurs(string name) => name is Name or Temporary;

    /// <summary>Writes it, so that after a power cut it is there whole, the old one or the new one.</summary>
    public static DiskError Write(IJournalDisk disk, long seconds, IReadOnlyCollection<CustodyEntry> entries)
    {
        byte[] content = Encode(seconds, entries);
        DiskError error = disk.Open(Temporary, FileOpening.Create, out ISegmentFile? file);
        if (!error.IsNone)
            return error;
        using (file)
        {
            error = file!.Write(0, content);
            if (error.IsNone)
                error = file.Sync();
        }

        if (error.IsNone)
            error = disk.Rename(Temporary, Name);
        return error.IsNone ? disk.SyncDirectory() : error;
    }

    /// <summary>Reads it; false if there is none that is whole.</summary>
    public static bool TryRead(IJournalDisk disk, out long seconds, out List<CustodyEntry> entries)
    {
        seconds = 0;
        entries = [];
        if (!disk.Open(Name, FileOpening.Read, out ISegmentFile? file).IsNone)
            return false;
        byte[] content;
        using (file)
        {
            if (!file!.Length(out long bytes).IsNone || bytes < Magic.Length + ChecksumBytes || bytes > BytesMax)
                return false;
            content = new byte[bytes];
            if (!file.Read(0, content, out int read).IsNone || read != bytes)
                return false;
        }

        ReadOnlySpan<byte> checkedPart = content.AsSpan(0, content.Length - ChecksumBytes);
        uint checksum = BinaryPrimitives.ReadUInt32LittleEndian(content.AsSpan(checkedPart.Length));
        return checkedPart.StartsWith(Magic) && Crc32C.Compute(checkedPart) == checksum
            && TryDecode(checkedPart[Magic.Length..], out seconds, entries);
    }

    private static byte[] Encode(long seconds, IReadOnlyCollection<CustodyEntry> entries)
    {
        byte[] content = new byte[Magic.Length + 10 + (entries.Count * EntryBytesMax) + ChecksumBytes];
        var writer = new EntryWriter(content);
        writer.Bytes(Magic);
        writer.VarInt((ulong)seconds);
        foreach (CustodyEntry entry in entries)
        {
            writer.Text(Encoding.UTF8.GetBytes(entry.DeviceId));
            writer.UInt32(entry.BootId);
            writer.Byte((byte)entry.Priority);
            writer.VarInt(entry.SafeSequence);
        }

        writer.UInt32(Crc32C.Compute(content.AsSpan(0, writer.Written)));
        return content[..writer.Written];
    }

    private static bool TryDecode(ReadOnlySpan<byte> content, out long seconds, List<CustodyEntry> entries)
    {
        var reader = new EntryReader(content);
        seconds = (long)reader.VarInt();
        while (!reader.IsBroken && !reader.IsAtEnd)
        {
            ReadOnlySpan<byte> deviceId = reader.Text();
            uint bootId = reader.UInt32();
            int priority = reader.Byte();
            ulong safeSequence = reader.VarInt();
            bool isSound = !reader.IsBroken && priority is >= 1 and <= 3 && safeSequence <= uint.MaxValue
                && (Names.IsDeviceId(deviceId) || deviceId.SequenceEqual("local"u8));
            if (!isSound)
                return false;
            entries.Add(new CustodyEntry(Encoding.UTF8.GetString(deviceId), bootId, priority, (uint)safeSequence));
        }

        return !reader.IsBroken && seconds >= 0;
    }
}
