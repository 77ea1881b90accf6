using System.Buffers.Binary;
using System.Globalization;

using IotTcpGateway.Journal.Tests;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Fuzz.Journal;

/// <summary>Makes the payload of a record; returns its bytes.</summary>
internal delegate int PayloadSource(ref FuzzInput input, Span<byte> payload);

/// <summary>
/// A journal's directory as an input tells it: segments, cursor slots and other files, with checksums right or wrong.
/// It is written by the format's description, not by the library's code, and remembers which records are whole.
/// </summary>
internal sealed class JournalImage(SimulatedDisk disk, PayloadSource source)
{
    public const int PayloadBytesMax = 256;

    private const int HeaderBytes = 64, RecordHeaderBytes = 24, ChecksumAt = 60, SlotDistance = 4096;
    private const int FileBytesMax = 24 * 1024;

    private static readonly string[] OtherNames =
    [
        "reserve", "cursor.tmp", "reserve.tmp", "cursor", "alien", ".hidden", "old.broken", "0000000000000001-01.seg",
        "0000000000000001-0000000000000101.seg.tmp", "0000000000000001-0000000000000101.seg.broken",
        "FFFFFFFFFFFFFFFF-0000000000000101.seg", "ffffffffffffffff-0000000000000101.seg",
    ];

    private readonly byte[] payload = new byte[PayloadBytesMax + 8];
    private List<byte> segment = [];
    private string name = "";
    private ulong nonce;
    private long id;

    /// <summary>The records that are whole, by id, as hexadecimal.</summary>
    public Dictionary<long, HashSet<string>> Whole { get; } = [];

    public int Bytes { get; private set; }

    public void Build(ref FuzzInput input)
    {
        while (!input.IsAtEnd && Bytes < FileBytesMax)
        {
            switch (input.Below(8))
            {
                case 0:
                    EndSegment();
                    BeginSegment(ref input);
                    break;
                case 1 or 2:
                    for (int left = input.Below(4); left >= 0; left--)
                        AddRecord(ref input, id + 1, index: (uint)left, damage: 0);
                    break;
                case 3:
                    AddRecord(ref input, NextId(ref input), input.Byte(), damage: input.Below(6));
                    break;
                case 4:
                    Append(input.Text());
                    break;
                case 5:
                    Append(new byte[input.Byte() * 8]);
                    break;
                case 6:
                    AddSlot(ref input);
                    break;
                default:
                    AddFile(OtherNames[input.Below(OtherNames.Length)], input.Text());
                    break;
            }
        }

        EndSegment();
    }

    private void BeginSegment(ref FuzzInput input)
    {
        ulong number = (ulong)input.Below(7) + (input.Flag() ? ulong.MaxValue - 7 : 1);
        nonce = 0x100UL + (uint)input.Below(4);
        name = string.Create(CultureInfo.InvariantCulture, $"{number:x16}-{nonce:x16}.seg");
        int kind = input.Below(12);
        if (kind == 11)
            return;
        Span<byte> header = stackalloc byte[HeaderBytes];
        header.Clear();
        "ITGJSEG\n"u8.CopyTo(header);
        BinaryPrimitives.WriteUInt16LittleEndian(header[8..], (ushort)(kind == 8 ? 2 : 1));
        header[10] = HeaderBytes;
        header[12] = input.Byte();
        BinaryPrimitives.WriteUInt64LittleEndian(header[16..], kind == 9 ? number + 1 : number);
        BinaryPrimitives.WriteUInt64LittleEndian(header[24..], nonce);
        long first = NextId(ref input);
        BinaryPrimitives.WriteInt64LittleEndian(header[32..], first);
        BinaryPrimitives.WriteInt64LittleEndian(header[40..], input.Flag() ? NextId(ref input) : input.Below(4));
        uint checksum = Crc32C.Compute(header[..ChecksumAt]);
        BinaryPrimitives.WriteUInt32LittleEndian(header[ChecksumAt..], kind == 10 ? ~checksum : checksum);
        Append(header);
        id = first - 1;
    }

    private void AddRecord(ref FuzzInput input, long recordId, uint index, int damage)
    {
        payload.AsSpan().Clear();
        int payloadBytes = source(ref input, payload.AsSpan(0, PayloadBytesMax));
        Span<byte> record = stackalloc byte[(RecordHeaderBytes + payloadBytes + 7) & -8];
        record.Clear();
        payload.AsSpan(0, payloadBytes).CopyTo(record[RecordHeaderBytes..]);
        BinaryPrimitives.WriteInt32LittleEndian(record[4..], damage == 4 ? (int)NextId(ref input) : payloadBytes);
        BinaryPrimitives.WriteInt64LittleEndian(record[8..], recordId);
        BinaryPrimitives.WriteUInt32LittleEndian(record[16..], index);
        uint body = Checksum(nonce, (ulong)recordId, record[RecordHeaderBytes..]);
        BinaryPrimitives.WriteUInt32LittleEndian(record[20..], damage is 1 or 4 ? ~body : body);
        ulong offset = (ulong)segment.Count + (damage == 3 ? 8UL : 0);
        BinaryPrimitives.WriteUInt32LittleEndian(record, Checksum(damage == 5 ? ~nonce : nonce, offset, record[4..RecordHeaderBytes]));
        if (damage == 2)
            record[8] ^= 1;
        if (damage == 0)
            Remember(recordId, record.Slice(RecordHeaderBytes, payloadBytes));
        id = recordId;
        Append(record);
    }

    private void Remember(long recordId, ReadOnlySpan<byte> content)
    {
        if (!Whole.TryGetValue(recordId, out HashSet<string>? known))
            Whole.Add(recordId, known = []);
        known.Add(Convert.ToHexString(content));
    }

    // Close to the last one mostly, else anything up to two to the sixtieth: no journal comes nearer to the end.
    private long NextId(ref FuzzInput input)
    {
        int choice = input.Byte();
        return choice < 0xF0 ? Math.Max(id + (choice % 16) - 3, -1) : input.Int64() >> 3;
    }

    private void AddSlot(ref FuzzInput input)
    {
        Span<byte> slot = stackalloc byte[ChecksumAt + 4];
        slot.Clear();
        "ITGJCUR\n"u8.CopyTo(slot);
        int side = input.Below(2);
        slot[8] = (byte)(input.Below(8) == 7 ? 2 : 1);
        BinaryPrimitives.WriteUInt64LittleEndian(slot[16..], input.Byte());
        for (int at = 24; at <= 40; at += 8)
            BinaryPrimitives.WriteInt64LittleEndian(slot[at..], NextId(ref input));
        uint checksum = Crc32C.Compute(slot[..ChecksumAt]);
        BinaryPrimitives.WriteUInt32LittleEndian(slot[ChecksumAt..], input.Below(8) == 7 ? ~checksum : checksum);
        byte[] file = disk.Names.Contains("cursor") ? disk["cursor"] : [];
        Array.Resize(ref file, Math.Max(file.Length, (side * SlotDistance) + slot.Length));
        slot.CopyTo(file.AsSpan(side * SlotDistance));
        AddFile("cursor", file);
    }

    private void Append(ReadOnlySpan<byte> bytes) => segment.AddRange(bytes);

    private void EndSegment()
    {
        if (name.Length > 0)
            AddFile(name, segment.ToArray());
        segment = [];
        name = "";
    }

    private void AddFile(string file, ReadOnlySpan<byte> content)
    {
        Bytes += content.Length + 64;
        disk[file] = content.ToArray();
    }

    private static uint Checksum(ulong first, ulong second, ReadOnlySpan<byte> bytes)
    {
        Span<byte> numbers = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(numbers, first);
        BinaryPrimitives.WriteUInt64LittleEndian(numbers[8..], second);
        return Crc32C.Finish(Crc32C.Append(Crc32C.Append(Crc32C.Initial, numbers), bytes));
    }
}
