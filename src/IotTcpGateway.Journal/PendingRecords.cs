using System.Buffers.Binary;

namespace IotTcpGateway.Journal;

/// <summary>A run of pending records that fits where it is to be written.</summary>
internal readonly record struct PendingRun(int Bytes, int Records, long LastId, long PayloadBytes);

/// <summary>
/// Records that wait for their sync, laid out as they will be in a segment. They stay until they are synced, so that
/// they can be written a second time, elsewhere.
/// </summary>
internal sealed class PendingRecords(int bytesMax)
{
    private byte[] buffer = [];
    private int head;
    private int tail;

    public bool IsEmpty => head == tail;

    public int Bytes => tail - head;

    public long FirstId => IdAt(head);

    /// <summary>The last id added since there was none; 0 when there is none now.</summary>
    public long LastId { get; private set; }

    /// <summary>False when there is no room before the next commit.</summary>
    public bool TryAdd(ReadOnlySpan<byte> payload, long id)
    {
        int total = RecordHeader.TotalBytesOf(payload.Length);
        if (tail + total > bytesMax)
            return false;
        if (buffer.Length < bytesMax)
            buffer = GC.AllocateUninitializedArray<byte>(bytesMax, pinned: true);
        Add(payload, id, total);
        return true;
    }

    /// <summary>Adds a record that was found on disk, and takes the memory for it if that is more than usual.</summary>
    public void Restore(ReadOnlySpan<byte> payload, long id)
    {
        int total = RecordHeader.TotalBytesOf(payload.Length);
        if (tail + total > buffer.Length)
        {
            byte[] larger = GC.AllocateUninitializedArray<byte>(Math.Max(bytesMax, (tail + total) * 2), pinned: true);
            buffer.AsSpan(head, Bytes).CopyTo(larger.AsSpan(head));
            buffer = larger;
        }

        Add(payload, id, total);
    }

    private void Add(ReadOnlySpan<byte> payload, long id, int total)
    {
        Span<byte> record = buffer.AsSpan(tail, total);
        BinaryPrimitives.WriteInt32LittleEndian(record[4..], payload.Length);
        BinaryPrimitives.WriteInt64LittleEndian(record[8..], id);
        payload.CopyTo(record[RecordHeader.Bytes..]);
        record[(RecordHeader.Bytes + payload.Length)..].Clear();
        tail += total;
        LastId = id;
    }

    /// <summary>Writes the headers of as many records as have room at that place, and gives their bytes.</summary>
    public ReadOnlySpan<byte> Address(ulong nonce, long offset, long roomBytes, out PendingRun run)
    {
        run = default;
        int at = head;
        while (at < tail)
        {
            int payloadBytes = PayloadBytesAt(at);
            int total = RecordHeader.TotalBytesOf(payloadBytes);
            if (run.Bytes + total > roomBytes)
                break;
            long id = IdAt(at);
            Span<byte> record = buffer.AsSpan(at, total);
            RecordHeader.Write(record, nonce, offset + run.Bytes, payloadBytes, id, (uint)(id - FirstId));
            run = new PendingRun(run.Bytes + total, run.Records + 1, id, run.PayloadBytes + payloadBytes);
            at += total;
        }

        return buffer.AsSpan(head, run.Bytes);
    }

    /// <summary>Lets go of records that are synced.</summary>
    public void Remove(in PendingRun run)
    {
        head += run.Bytes;
        if (!IsEmpty)
            return;
        head = tail = 0;
        LastId = 0;
    }

    private long IdAt(int at) => BinaryPrimitives.ReadInt64LittleEndian(buffer.AsSpan(at + 8));

    private int PayloadBytesAt(int at) => BinaryPrimitives.ReadInt32LittleEndian(buffer.AsSpan(at + 4));
}
