using System.Buffers.Binary;

namespace IotTcpGateway.Protocol;

/// <summary>One value of a DATA frame. The value lies in the body it was read from.</summary>
public readonly ref struct DataRecord
{
    /// <summary>The channel's number.</summary>
    public required ushort Channel { get; init; }

    /// <summary>The type of the value.</summary>
    public required DataType Type { get; init; }

    /// <summary>Offset in ms from the frame's base time.</summary>
    public required uint OffsetMilliseconds { get; init; }

    /// <summary>The value's bytes, without the length that text and bytes have before them.</summary>
    public required ReadOnlySpan<byte> Value { get; init; }

    /// <summary>The value of a bool.</summary>
    public bool AsBool() => Value[0] != 0;

    /// <summary>The value of any signed integer type.</summary>
    public long AsSigned() => Type switch
    {
        DataType.I8 => (sbyte)Value[0],
        DataType.I16 => BinaryPrimitives.ReadInt16LittleEndian(Value),
        DataType.I32 => BinaryPrimitives.ReadInt32LittleEndian(Value),
        _ => BinaryPrimitives.ReadInt64LittleEndian(Value),
    };

    /// <summary>The value of any unsigned integer type.</summary>
    public ulong AsUnsigned() => Type switch
    {
        DataType.U8 => Value[0],
        DataType.U16 => BinaryPrimitives.ReadUInt16LittleEndian(Value),
        DataType.U32 => BinaryPrimitives.ReadUInt32LittleEndian(Value),
        _ => BinaryPrimitives.ReadUInt64LittleEndian(Value),
    };

    /// <summary>The value of an f32.</summary>
    public float AsSingle() => BinaryPrimitives.ReadSingleLittleEndian(Value);

    /// <summary>The value of an f64.</summary>
    public double AsDouble() => BinaryPrimitives.ReadDoubleLittleEndian(Value);
}

/// <summary>What is wrong with a DATA body.</summary>
public enum DataFault
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>There is no base time or no record.</summary>
    Empty,

    /// <summary>A record ends early.</summary>
    EndsEarly,

    /// <summary>A value type is unknown.</summary>
    UnknownValueType,

    /// <summary>A bool is neither 0 nor 1.</summary>
    BadBool,

    /// <summary>A text is not UTF-8.</summary>
    BadText,

    /// <summary>A record's time leaves the range of 64 bits.</summary>
    TimeOutOfRange,
}

/// <summary>Reads a DATA body record by record. Check the body with <see cref="Check"/> first.</summary>
public ref struct DataReader
{
    /// <summary>Bytes of the base time before the first record.</summary>
    public const int BaseTimeBytes = sizeof(long);

    private readonly int bodyBytes;
    private BodyReader reader;
    private bool hasFault;

    /// <summary>Starts at the first record.</summary>
    public DataReader(ReadOnlySpan<byte> body)
        : this(body, body.Length, hasBaseTime: true)
    {
    }

    private DataReader(ReadOnlySpan<byte> rest, int bodyBytes, bool hasBaseTime)
    {
        this.bodyBytes = bodyBytes;
        reader = new BodyReader(rest);
        BaseTime = hasBaseTime ? reader.I64() : 0;
    }

    /// <summary>Base time in Unix µs; 0 if the device has no clock.</summary>
    public long BaseTime { get; }

    /// <summary>Bytes of the body read so far: where the next record begins.</summary>
    public readonly int BytesRead => bodyBytes - reader.BytesLeft;

    /// <summary>The record that begins at an offset that <see cref="BytesRead"/> gave for the same body.</summary>
    public static DataRecord RecordAt(ReadOnlySpan<byte> body, int offset)
    {
        var data = new DataReader(body[offset..], body.Length, hasBaseTime: false);
        data.ReadNext(out DataRecord record);
        return record;
    }

    /// <summary>Looks at a whole body. Allocates nothing.</summary>
    /// <param name="body">The body of a DATA frame.</param>
    /// <param name="records">Records that are right, up to the first fault; the faulty one is the next.</param>
    public static DataFault Check(ReadOnlySpan<byte> body, out int records)
    {
        records = 0;
        if (body.Length <= BaseTimeBytes)
            return DataFault.Empty;
        var data = new DataReader(body);
        while (data.reader.BytesLeft > 0)
        {
            DataFault fault = data.ReadNext(out _);
            if (fault != DataFault.None)
                return fault;
            records++;
        }

        return DataFault.None;
    }

    internal static bool LeavesTheRange(long baseTime, uint offsetMilliseconds) =>
        baseTime > long.MaxValue - (offsetMilliseconds * 1000L);

    /// <summary>Reads the next record; false at the end, and from the first fault on.</summary>
    public bool TryRead(out DataRecord record)
    {
        record = default;
        return reader.BytesLeft > 0 && ReadNext(out record) == DataFault.None;
    }

    private DataFault ReadNext(out DataRecord record)
    {
        record = default;
        DataFault fault = hasFault ? DataFault.EndsEarly : ReadRecord(out record);
        // Behind a fault nothing says where the next record begins.
        hasFault = fault != DataFault.None;
        return fault;
    }

    private DataFault ReadRecord(out DataRecord record)
    {
        record = default;
        ushort channel = reader.U16();
        byte type = reader.U8();
        uint offset = reader.U32();
        if (reader.HasFailed)
            return DataFault.EndsEarly;
        if (!DataTypes.IsKnown(type))
            return DataFault.UnknownValueType;

        int bytes = (DataType)type switch
        {
            DataType.Text => reader.U8(),
            DataType.Bytes => reader.U16(),
            DataType fixedSize => DataTypes.FixedBytes(fixedSize),
        };
        ReadOnlySpan<byte> value = reader.Take(bytes);
        if (reader.HasFailed)
            return DataFault.EndsEarly;
        if ((DataType)type == DataType.Bool && value[0] > 1)
            return DataFault.BadBool;
        if ((DataType)type == DataType.Text && !System.Text.Unicode.Utf8.IsValid(value))
            return DataFault.BadText;
        if (LeavesTheRange(BaseTime, offset))
            return DataFault.TimeOutOfRange;

        record = new DataRecord
        {
            Channel = channel,
            Type = (DataType)type,
            OffsetMilliseconds = offset,
            Value = value,
        };
        return DataFault.None;
    }
}

/// <summary>
/// Builds a DATA body. Every Add answers false, and writes nothing, when the room ends; a value that the format cannot
/// hold is an <see cref="ArgumentException"/>. What it has written, <see cref="DataReader.Check"/> finds right.
/// </summary>
public ref struct DataWriter
{
    private const int RecordBytesBeforeValue = 7;
    private readonly Span<byte> destination;
    private readonly long baseTime;
    private BodyWriter writer;

    /// <summary>Writes into <paramref name="destination"/>, which has room for the base time at least.</summary>
    /// <param name="destination">Where the body goes; as long as the largest body wanted.</param>
    /// <param name="baseTime">Unix µs; 0 if the device has no clock.</param>
    public DataWriter(Span<byte> destination, long baseTime)
    {
        this.destination = destination;
        this.baseTime = baseTime;
        writer = new BodyWriter(destination);
        writer.I64(baseTime);
    }

    /// <summary>Length of the body so far.</summary>
    public readonly int Written => writer.Written;

    /// <summary>Adds a bool.</summary>
    public bool Add(ushort channel, uint offsetMilliseconds, bool value) =>
        AddRaw(channel, DataType.Bool, offsetMilliseconds, [value ? (byte)1 : (byte)0]);

    /// <summary>Adds an i32.</summary>
    public bool Add(ushort channel, uint offsetMilliseconds, int value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        return AddRaw(channel, DataType.I32, offsetMilliseconds, bytes);
    }

    /// <summary>Adds a u32.</summary>
    public bool Add(ushort channel, uint offsetMilliseconds, uint value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        return AddRaw(channel, DataType.U32, offsetMilliseconds, bytes);
    }

    /// <summary>Adds an i64.</summary>
    public bool Add(ushort channel, uint offsetMilliseconds, long value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        return AddRaw(channel, DataType.I64, offsetMilliseconds, bytes);
    }

    /// <summary>Adds a u64.</summary>
    public bool Add(ushort channel, uint offsetMilliseconds, ulong value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        return AddRaw(channel, DataType.U64, offsetMilliseconds, bytes);
    }

    /// <summary>Adds an f32.</summary>
    public bool Add(ushort channel, uint offsetMilliseconds, float value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(float)];
        BinaryPrimitives.WriteSingleLittleEndian(bytes, value);
        return AddRaw(channel, DataType.F32, offsetMilliseconds, bytes);
    }

    /// <summary>Adds an f64.</summary>
    public bool Add(ushort channel, uint offsetMilliseconds, double value)
    {
        Span<byte> bytes = stackalloc byte[sizeof(double)];
        BinaryPrimitives.WriteDoubleLittleEndian(bytes, value);
        return AddRaw(channel, DataType.F64, offsetMilliseconds, bytes);
    }

    /// <summary>Adds a text of up to 255 bytes of UTF-8; false if it is longer.</summary>
    public bool AddText(ushort channel, uint offsetMilliseconds, ReadOnlySpan<byte> utf8) =>
        utf8.Length <= byte.MaxValue && AddRaw(channel, DataType.Text, offsetMilliseconds, utf8);

    /// <summary>Adds up to 65 535 bytes; false if there are more.</summary>
    public bool AddBytes(ushort channel, uint offsetMilliseconds, ReadOnlySpan<byte> bytes) =>
        bytes.Length <= ushort.MaxValue && AddRaw(channel, DataType.Bytes, offsetMilliseconds, bytes);

    /// <summary>Adds a value of any type by its bytes, without the length of text and bytes.</summary>
    public bool AddRaw(ushort channel, DataType type, uint offsetMilliseconds, scoped ReadOnlySpan<byte> value)
    {
        ThrowIfMalformed(type, offsetMilliseconds, value);
        int lengthBytes = type switch { DataType.Text => 1, DataType.Bytes => 2, _ => 0 };
        if (writer.Written + RecordBytesBeforeValue + lengthBytes + value.Length > destination.Length)
            return false;
        writer.U16(channel);
        writer.U8((byte)type);
        writer.U32(offsetMilliseconds);
        if (lengthBytes == 1)
            writer.U8((byte)value.Length);
        else if (lengthBytes == 2)
            writer.U16((ushort)value.Length);
        writer.Put(value);
        return true;
    }

    private readonly void ThrowIfMalformed(DataType type, uint offsetMilliseconds, scoped ReadOnlySpan<byte> value)
    {
        bool isRight = type switch
        {
            DataType.Bool => value.Length == 1 && value[0] <= 1,
            DataType.Text => value.Length <= byte.MaxValue && System.Text.Unicode.Utf8.IsValid(value),
            DataType.Bytes => value.Length <= ushort.MaxValue,
            _ => DataTypes.IsKnown((byte)type) && value.Length == DataTypes.FixedBytes(type),
        };
        if (!isRight)
            throw new ArgumentException($"{value.Length} bytes are no value of type {type}", nameof(value));
        if (DataReader.LeavesTheRange(baseTime, offsetMilliseconds))
        {
            throw new ArgumentOutOfRangeException(
                nameof(offsetMilliseconds), offsetMilliseconds, "the record's time leaves the range of 64 bits");
        }
    }
}
