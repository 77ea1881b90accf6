using System.Buffers;

namespace IotTcpGateway.Ingest;

/// <summary>
/// The sequences of DATA frames received on a connection and neither ACKed nor NACKed yet. Holds no memory while there
/// are none. At most as many as the largest window told, because reading stops there. Not safe for several threads.
/// </summary>
internal sealed class OutstandingFrames
{
    private const int InitialLength = 16;
    private uint[]? sequences;

    public int Count { get; private set; }

    public void Add(uint sequence)
    {
        sequences ??= ArrayPool<uint>.Shared.Rent(InitialLength);
        if (Count == sequences.Length)
        {
            uint[] longer = ArrayPool<uint>.Shared.Rent(Count * 2);
            sequences.AsSpan(0, Count).CopyTo(longer);
            ArrayPool<uint>.Shared.Return(sequences);
            sequences = longer;
        }

        sequences[Count++] = sequence;
    }

    /// <summary>An ACK of this sequence is being sent.</summary>
    public void Acknowledge(uint sequence) => Keep(sequence, isNack: false);

    /// <summary>
    /// A NACK is to be sent; false if the frame was not received on this connection or is answered already.
    /// </summary>
    public bool Refuse(uint sequence)
    {
        int before = Count;
        Keep(sequence, isNack: true);
        return Count < before;
    }

    /// <summary>None is waited for any more.</summary>
    public void Clear() => Acknowledge(uint.MaxValue);

    private void Keep(uint sequence, bool isNack)
    {
        if (sequences is null)
            return;
        int kept = 0;
        for (int i = 0; i < Count; i++)
        {
            if (isNack ? sequences[i] != sequence : sequences[i] > sequence)
                sequences[kept++] = sequences[i];
        }

        Count = kept;
        if (kept > 0)
            return;
        ArrayPool<uint>.Shared.Return(sequences);
        sequences = null;
    }
}
