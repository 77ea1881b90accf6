using System.Buffers;

namespace IotTcpGateway.Forward;

/// <summary>Messages of one topic gathered into a JSON array.</summary>
internal sealed class OpenBatch(string topic, long openedAt)
{
    private readonly ArrayBufferWriter<byte> bytes = new(1024);

    public string Topic { get; } = topic;

    public long OpenedAt { get; } = openedAt;

    public List<RecordInFlight> Records { get; } = [];

    public int Bytes => bytes.WrittenCount;

    public void Add(RecordInFlight record, ReadOnlySpan<byte> message)
    {
        bytes.Write(Records.Count == 0 ? "["u8 : ","u8);
        bytes.Write(message);
        Records.Add(record);
    }

    public Publication Close()
    {
        bytes.Write("]"u8);
        return new Publication(Topic, bytes.WrittenSpan) { Batch = Records };
    }
}
