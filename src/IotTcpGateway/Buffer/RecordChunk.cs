using System.Runtime.InteropServices;

using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>
/// A block of native memory with records one after the other; freed as a whole when the last is settled. When few are
/// left it can shrink to these: they keep the offsets by which they are known. When all of them are synced it can be
/// evicted: what is left is where they are in the journal.
/// </summary>
internal sealed unsafe class RecordChunk(Lane lane, long number) : IDisposable
{
    public const int ShiftBits = 16;
    public const int Bytes = 1 << ShiftBits;

    // A quarter left: moving less than that frees much for little copying.
    private const int SparseShare = 4;

    private byte* memory = (byte*)NativeMemory.Alloc(Bytes);
    private int[]? keptOffsets;
    private int[]? keptPlaces;
    private int used;

    public Lane Lane => lane;

    public long Number => number;

    /// <summary>Memory that it takes.</summary>
    public int AllocatedBytes { get; private set; } = Bytes;

    /// <summary>Records not settled.</summary>
    public int Live { get; private set; }

    /// <summary>Memory that these need.</summary>
    public int LiveBytes { get; private set; }

    /// <summary>Those of them that the forwarder has.</summary>
    public int InFlight { get; set; }

    /// <summary>Those of them that are on disk too.</summary>
    public int Synced { get; set; }

    /// <summary>Whether it was read from the journal.</summary>
    public bool IsReadBack { get; init; }

    /// <summary>Whether it takes of the memory that is kept for reading.</summary>
    public bool IsPage { get; set; }

    /// <summary>Nothing more is appended.</summary>
    public bool IsClosed { get; set; }

    /// <summary>Whether there is no memory, but ids of the journal.</summary>
    public bool IsOnDisk => memory is null;

    /// <summary>The ids of what is on disk; some between may be settled.</summary>
    public IdRange Ids { get; set; }

    /// <summary>
    /// If set, only these devices' records are meant, each within its own ids; what is between is elsewhere.
    /// </summary>
    public AsideRecords? Only { get; init; }

    /// <summary>How many of these are not settled.</summary>
    public long RecordsOnDisk { get; set; }

    public RecordChunk? Next { get; set; }

    public RecordChunk? Previous { get; set; }

    public bool IsSparse => LiveBytes * SparseShare <= AllocatedBytes;

    /// <summary>What the journal has from before the start.</summary>
    public static RecordChunk OnDisk(
        Lane lane, long number, IdRange ids, long records, AsideRecords? only = null)
    {
        var chunk = new RecordChunk(lane, number) { Only = only };
        chunk.Dispose();
        chunk.AllocatedBytes = 0;
        chunk.Ids = ids;
        chunk.RecordsOnDisk = records;
        return chunk;
    }

    public static int BytesOf(int bodyBytes) => (sizeof(RecordHeader) + bodyBytes + 7) & ~7;

    public bool HasRoomFor(int bodyBytes) =>
        !IsOnDisk && !IsClosed && keptOffsets is null && used + BytesOf(bodyBytes) <= Bytes;

    /// <summary>Whether a record is still known by this offset; it may be settled.</summary>
    public bool Has(int offset) =>
        !IsOnDisk && (keptOffsets is null ? offset < used : Array.BinarySearch(keptOffsets, offset) >= 0);

    public ref RecordHeader HeaderAt(int offset) => ref *(RecordHeader*)(memory + PlaceOf(offset));

    public ReadOnlySpan<byte> BodyAt(int offset)
    {
        byte* place = memory + PlaceOf(offset);
        return new ReadOnlySpan<byte>(place + sizeof(RecordHeader), ((RecordHeader*)place)->BodyBytes);
    }

    /// <summary>
    /// The offset of the first record at or behind an offset; settled ones may be among them. False at the end.
    /// </summary>
    public bool TryFind(ref int offset)
    {
        if (keptOffsets is null)
            return offset < used;
        int index = Array.BinarySearch(keptOffsets, offset);
        index = index < 0 ? ~index : index;
        if (index == keptOffsets.Length)
            return false;
        offset = keptOffsets[index];
        return true;
    }

    /// <summary>Appends a record; the caller made sure of the room. Returns its offset.</summary>
    public int Append(in RecordHeader header, ReadOnlySpan<byte> body)
    {
        int offset = used;
        HeaderAt(offset) = header;
        body.CopyTo(new Span<byte>(memory + offset + sizeof(RecordHeader), body.Length));
        int bytes = BytesOf(body.Length);
        used += bytes;
        Live++;
        LiveBytes += bytes;
        return offset;
    }

    /// <summary>A record's body is needed no more.</summary>
    public void Settle(ref RecordHeader header)
    {
        if ((header.Flags & RecordFlags.Taken) != 0)
            InFlight--;
        if ((header.Flags & RecordFlags.Synced) != 0)
            Synced--;
        header.Flags |= RecordFlags.Settled;
        Live--;
        LiveBytes -= BytesOf(header.BodyBytes);
    }

    /// <summary>
    /// Moves what is not settled into a block of just that size; spans into the chunk become invalid.
    /// </summary>
    public void Shrink()
    {
        var offsets = new int[Live];
        var places = new int[Live];
        var smaller = (byte*)NativeMemory.Alloc((nuint)LiveBytes);
        int kept = 0, place = 0;
        for (int offset = 0; TryFind(ref offset);)
        {
            ref RecordHeader header = ref HeaderAt(offset);
            int bytes = BytesOf(header.BodyBytes);
            if ((header.Flags & RecordFlags.Settled) == 0)
            {
                new ReadOnlySpan<byte>(memory + PlaceOf(offset), bytes).CopyTo(new Span<byte>(smaller + place, bytes));
                offsets[kept] = offset;
                places[kept++] = place;
                place += bytes;
            }

            offset += bytes;
        }

        NativeMemory.Free(memory);
        memory = smaller;
        keptOffsets = offsets;
        keptPlaces = places;
        AllocatedBytes = LiveBytes;
    }

    /// <summary>Gives the memory up: everything that is not settled is synced.</summary>
    public void Evict()
    {
        long lowest = long.MaxValue, highest = 0;
        for (int offset = 0; TryFind(ref offset);)
        {
            ref RecordHeader header = ref HeaderAt(offset);
            offset += BytesOf(header.BodyBytes);
            if ((header.Flags & RecordFlags.Settled) != 0)
                continue;
            lowest = Math.Min(lowest, header.JournalId);
            highest = Math.Max(highest, header.JournalId);
        }

        Ids = new IdRange(lowest, highest);
        RecordsOnDisk = Live;
        Dispose();
        (Live, LiveBytes, Synced, AllocatedBytes, used) = (0, 0, 0, 0, 0);
        keptOffsets = keptPlaces = null;
    }

    public void Dispose()
    {
        NativeMemory.Free(memory);
        memory = null;
    }

    private int PlaceOf(int offset) =>
        keptOffsets is null ? offset : keptPlaces![Array.BinarySearch(keptOffsets, offset)];
}

/// <summary>What stands before a record's body in a chunk.</summary>
internal struct RecordHeader
{
    public long ArrivalUnixMilliseconds;
    public long ArrivalMicroseconds;
    public long NextOfStream;
    public long PreviousOfStream;

    /// <summary>Under which id the journal has it; 0 if it was not appended.</summary>
    public long JournalId;
    public uint Sequence;
    public int StreamSlot;
    public int TableSlot;
    public ushort BodyBytes;
    public RecordFlags Flags;
}

[Flags]
internal enum RecordFlags : ushort
{
    None = 0,

    /// <summary>The wall clock was synchronised at arrival.</summary>
    Synchronised = 1,

    /// <summary>The forwarder has it.</summary>
    Taken = 2,

    /// <summary>Confirmed or dropped.</summary>
    Settled = 4,

    /// <summary>It is on disk too.</summary>
    Synced = 8,

    /// <summary>On its way to quarantine: it is not taken any more.</summary>
    Quarantined = 16,

    /// <summary>Taken as part of a backlog that newer records overtake.</summary>
    Backfill = 32,
}
