using System.Buffers;
using System.Buffers.Text;
using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;
using IotTcpGateway.Time;

namespace IotTcpGateway.Forward.Payloads;

/// <summary>
/// JSON: one message per record and distinct time, or one per value where the topic names the channel. Buffers are kept
/// between records, so that encoding allocates nothing.
/// </summary>
internal sealed class JsonPayload(GatewayClock clock, bool isPerChannel) : IPayloadEncoder, IDisposable
{
    private static readonly JsonWriterOptions Options =
        new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, SkipValidation = true };

    private const int UndescribedNamesMax = 1024;

    private readonly Dictionary<ushort, string> undescribed = [];
    private readonly ArrayBufferWriter<byte> bytes = new(512);
    private readonly List<Value> values = [];
    private readonly HashSet<string> names = [];
    private Utf8JsonWriter? writer;

    /// <inheritdoc/>
    public int Encode(in BufferedRecord record, IMessageSink sink)
    {
        (long baseMicroseconds, string? quality) = BaseTimeOf(record);
        ReadValues(record, baseMicroseconds);
        int messages = NumberMessages();
        for (int first = 0; first < values.Count;)
        {
            int end = first + 1;
            while (end < values.Count && values[end].Part == values[first].Part)
                end++;
            Write(record, quality, first, end, messages > 1);
            sink.Message(isPerChannel ? values[first].Name : null, bytes.WrittenSpan);
            first = end;
        }

        return messages;
    }

    /// <inheritdoc/>
    public void Dispose() => writer?.Dispose();

    // The newest record of a frame without a clock is "now"; what arrived before the clock was set is corrected by what
    // the monotonic clock says has passed since.
    private (long Microseconds, string? Quality) BaseTimeOf(in BufferedRecord record)
    {
        var data = new DataReader(record.Body);
        if (data.BaseTime != 0)
            return (data.BaseTime, null);
        uint largest = 0;
        while (data.TryRead(out DataRecord value))
            largest = Math.Max(largest, value.OffsetMilliseconds);
        long? arrival = clock.UnixMillisecondsOf(record.Arrival);
        return (
            ((arrival ?? record.Arrival.UnixMilliseconds) - largest) * 1000,
            arrival is null ? "unsynced" : "arrival");
    }

    private void ReadValues(in BufferedRecord record, long baseMicroseconds)
    {
        values.Clear();
        var data = new DataReader(record.Body);
        int offset = DataReader.BaseTimeBytes;
        bool isSorted = true;
        long previous = long.MinValue;
        while (data.TryRead(out DataRecord value))
        {
            long time = baseMicroseconds + (value.OffsetMilliseconds * 1000L);
            isSorted &= time >= previous;
            previous = time;
            Channel? channel = record.Channels.Find(value.Channel);
            string name = channel?.Name ?? UndescribedName(value.Channel);
            values.Add(new Value(time, values.Count, name, offset));
            offset = data.BytesRead;
        }

        if (!isSorted)
            values.Sort((a, b) => a.Time != b.Time ? a.Time.CompareTo(b.Time) : a.Order - b.Order);
    }

    // Kept, but only so many: a device may use any of 65 536 numbers.
    private string UndescribedName(ushort channel)
    {
        if (undescribed.TryGetValue(channel, out string? name))
            return name;
        name = string.Create(CultureInfo.InvariantCulture, $"ch{channel}");
        if (undescribed.Count < UndescribedNamesMax)
            undescribed.Add(channel, name);
        return name;
    }

    private int NumberMessages()
    {
        int part = -1;
        names.Clear();
        for (int i = 0; i < values.Count; i++)
        {
            Value value = values[i];
            bool isNew = part < 0 || isPerChannel || value.Time != values[i - 1].Time || !names.Add(value.Name);
            if (isNew)
            {
                part++;
                names.Clear();
                names.Add(value.Name);
            }

            values[i] = value with { Part = part };
        }

        return part + 1;
    }

    private void Write(in BufferedRecord record, string? quality, int first, int end, bool hasParts)
    {
        bytes.ResetWrittenCount();
        writer ??= new Utf8JsonWriter(bytes, Options);
        writer.Reset(bytes);
        writer.WriteStartObject();
        writer.WriteString("device"u8, record.Stream.DeviceId);
        writer.WriteNumber("boot"u8, record.Stream.BootId);
        writer.WriteNumber("seq"u8, record.Sequence);
        if (hasParts)
            writer.WriteNumber("part"u8, values[first].Part);
        writer.WritePropertyName("ts"u8);
        WriteMilliseconds(values[first].Time);
        if (quality is not null)
            writer.WriteString("timeQuality"u8, quality);
        if (record.IsBackfill)
            writer.WriteBoolean("backfill"u8, true);
        writer.WriteStartObject("values"u8);
        for (int i = first; i < end; i++)
            WriteValue(record.Body, values[i]);
        writer.WriteEndObject();
        writer.WriteEndObject();
        writer.Flush();
    }

    private void WriteMilliseconds(long microseconds)
    {
        if (microseconds % 1000 == 0)
        {
            writer!.WriteNumberValue(microseconds / 1000);
            return;
        }

        // Whole and fraction apart: no binary floating point holds a µs of today's date times 1000 exactly.
        Span<byte> text = stackalloc byte[32];
        int length = 0;
        if (microseconds < 0)
            text[length++] = (byte)'-';
        ulong magnitude = microseconds < 0 ? (ulong)-(microseconds + 1) + 1 : (ulong)microseconds;
        Utf8Formatter.TryFormat(magnitude / 1000, text[length..], out int whole);
        length += whole;
        text[length++] = (byte)'.';
        Utf8Formatter.TryFormat((uint)(magnitude % 1000), text[length..], out int fraction, new StandardFormat('D', 3));
        length += fraction;
        while (text[length - 1] == (byte)'0')
            length--;
        writer!.WriteRawValue(text[..length], skipInputValidation: true);
    }

    private void WriteValue(ReadOnlySpan<byte> body, in Value value)
    {
        DataRecord record = DataReader.RecordAt(body, value.Offset);
        writer!.WritePropertyName(value.Name);
        switch (record.Type)
        {
            case DataType.Bool:
                writer.WriteBooleanValue(record.AsBool());
                break;
            case DataType.I8 or DataType.I16 or DataType.I32 or DataType.I64:
                writer.WriteNumberValue(record.AsSigned());
                break;
            case DataType.U8 or DataType.U16 or DataType.U32 or DataType.U64:
                writer.WriteNumberValue(record.AsUnsigned());
                break;
            case DataType.F32 when float.IsFinite(record.AsSingle()):
                writer.WriteNumberValue(record.AsSingle());
                break;
            case DataType.F64 when double.IsFinite(record.AsDouble()):
                writer.WriteNumberValue(record.AsDouble());
                break;
            case DataType.F32 or DataType.F64:
                writer.WriteNullValue();
                break;
            case DataType.Text:
                writer.WriteStringValue(record.Value);
                break;
            default:
                writer.WriteBase64StringValue(record.Value);
                break;
        }
    }

    private readonly record struct Value(long Time, int Order, string Name, int Offset)
    {
        public int Part { get; init; }
    }
}
