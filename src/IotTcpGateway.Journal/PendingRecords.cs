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
    private long firstId;

    public bool IsEmpty => head == tail;

    public int Bytes => tail - head;

    public long FirstId => firstId;

    public int FirstTotalBytes => RecordHeader.TotalBytesOf(PayloadBytesAt(head));

    /// <summary>False when there is no room before the next commit.</summary>
    public bool TryAdd(ReadOnlySpan<byte> payload, long id)
    {
        int total = RecordHeader.TotalBytesOf(payload.Length);
        if (tail + total > bytesMax)
            return false;
        if (buffer.Length == 0)
            buffer = GC.AllocateUninitializedArray<byte>(bytesMax, pinned: true);
        if (IsEmpty)
            firstId = id;
        Span<byte> record = buffer.AsSpan(tail, total);
        BinaryPrimitives.WriteInt32LittleEndian(record[4..], payload.Length);
        payload.CopyTo(record[RecordHeader.Bytes..]);
        record[(RecordHeader.Bytes + payload.Length)..].Clear();
        tail += total;
        return true;
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
            long id = firstId + run.Records;
            Span<byte> record = buffer.AsSpan(at, total);
            RecordHeader.Write(record, nonce, offset + run.Bytes, payloadBytes, id, (uint)run.Records);
            run = new PendingRun(run.Bytes + total, run.Records + 1, id, run.PayloadBytes + payloadBytes);
            at += total;
        }

        return buffer.AsSpan(head, run.Bytes);
    }

    /// <summary>Lets go of records that are synced.</summary>
    public void Remove(in PendingRun run)
    {
        head += run.Bytes;
        firstId = run.LastId + 1;
        if (IsEmpty)
            head = tail = 0;
    }

    private int PayloadBytesAt(int at) => BinaryPrimitives.ReadInt32LittleEndian(buffer.AsSpan(at + 4));
}
