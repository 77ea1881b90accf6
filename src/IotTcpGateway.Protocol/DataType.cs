namespace IotTcpGateway.Protocol;

/// <summary>The types of a record's value.</summary>
public enum DataType : byte
{
    /// <summary>One byte, 0 or 1.</summary>
    Bool = 0x01,

    /// <summary>Signed 8 bits.</summary>
    I8 = 0x02,

    /// <summary>Unsigned 8 bits.</summary>
    U8 = 0x03,

    /// <summary>Signed 16 bits.</summary>
    I16 = 0x04,

    /// <summary>Unsigned 16 bits.</summary>
    U16 = 0x05,

    /// <summary>Signed 32 bits.</summary>
    I32 = 0x06,

    /// <summary>Unsigned 32 bits.</summary>
    U32 = 0x07,

    /// <summary>Signed 64 bits.</summary>
    I64 = 0x08,

    /// <summary>Unsigned 64 bits.</summary>
    U64 = 0x09,

    /// <summary>IEEE 754 single; NaN and infinities are legal.</summary>
    F32 = 0x0A,

    /// <summary>IEEE 754 double; NaN and infinities are legal.</summary>
    F64 = 0x0B,

    /// <summary>Up to 255 bytes of UTF-8.</summary>
    Text = 0x0C,

    /// <summary>Up to 65 535 bytes.</summary>
    Bytes = 0x0D,
}

/// <summary>The words for value types, as metadata and documentation use them.</summary>
public static class DataTypes
{
    private static readonly string[] Words =
        ["bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64", "text", "bytes"];

    /// <summary>Whether the byte is a known value type.</summary>
    public static bool IsKnown(byte type) => type is >= (byte)DataType.Bool and <= (byte)DataType.Bytes;

    /// <summary>The word for a known type, such as "f32".</summary>
    public static string Word(DataType type) => Words[(byte)type - 1];

    /// <summary>Bytes of a value of fixed size; 0 for text and bytes.</summary>
    public static int FixedBytes(DataType type) => type switch
    {
        DataType.Bool or DataType.I8 or DataType.U8 => 1,
        DataType.I16 or DataType.U16 => 2,
        DataType.I32 or DataType.U32 or DataType.F32 => 4,
        DataType.I64 or DataType.U64 or DataType.F64 => 8,
        _ => 0,
    };
}
