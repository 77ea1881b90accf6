using System.Runtime.InteropServices;

namespace IotTcpGateway.Buffer;

/// <summary>A block of native memory with records one after the other; freed as a whole when the last is released.</summary>
internal sealed unsafe class RecordChunk : IDisposable
{
    public const int ShiftBits = 16;
    public const int Bytes = 1 << ShiftBits;

    private byte* memory = (byte*)NativeMemory.Alloc(Bytes);

    public RecordChunk(long number) => Number = number;

    public long Number { get; }

    /// <summary>Bytes written.</summary>
    public int Used { get; private set; }

    /// <summary>Records not yet released.</summary>
    public int Live { get; set; }

    public RecordChunk? Next { get; set; }

    public RecordChunk? Previous { get; set; }

    public static int BytesOf(int bodyBytes) => (sizeof(RecordHeader) + bodyBytes + 7) & ~7;

    public bool HasRoomFor(int bodyBytes) => Used + BytesOf(bodyBytes) <= Bytes;

    public ref RecordHeader HeaderAt(int offset) => ref *(RecordHeader*)(memory + offset);

    public ReadOnlySpan<byte> BodyAt(int offset) =>
        new(memory + offset + sizeof(RecordHeader), HeaderAt(offset).BodyBytes);

    /// <summary>Appends a record; the caller made sure of the room. Returns its offset.</summary>
    public int Append(in RecordHeader header, ReadOnlySpan<byte> body)
    {
        int offset = Used;
        HeaderAt(offset) = header;
        body.CopyTo(new Span<byte>(memory + offset + sizeof(RecordHeader), body.Length));
        Used += BytesOf(body.Length);
        Live++;
        return offset;
    }

    public void Dispose()
    {
        NativeMemory.Free(memory);
        memory = null;
    }
}

/// <summary>What stands before a record's body in a chunk.</summary>
internal struct RecordHeader
{
    public long ArrivalUnixMilliseconds;
    public long ArrivalMicroseconds;
    public long NextOfStream;
    public int BodyBytes;
    public uint Sequence;
    public int StreamSlot;
    public int TableSlot;
    public RecordFlags Flags;
}

[Flags]
internal enum RecordFlags
{
    None = 0,

    /// <summary>The wall clock was synchronised at arrival.</summary>
    Synchronised = 1,

    /// <summary>The forwarder has it.</summary>
    Taken = 2,

    /// <summary>Confirmed or dropped.</summary>
    Settled = 4,
}
