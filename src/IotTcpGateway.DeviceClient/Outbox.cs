using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>Frames other than DATA that wait to be sent. They go before DATA, and BYE is the last of all.</summary>
internal sealed class Outbox
{
    /// <summary>Bytes waiting beyond which the gateway is asked nothing more to answer.</summary>
    public const int BytesMax = 64 * 1024;

    private readonly record struct Waiting(FrameType Type, uint Sequence, ReadOnlyMemory<byte> Body);

    private readonly Lock gate = new();
    private readonly Queue<Waiting> frames = new();
    private int bytes;
    private bool isClosed;

    /// <summary>Whether nothing is left and nothing will come.</summary>
    public bool IsDone
    {
        get
        {
            lock (gate)
                return isClosed && frames.Count == 0;
        }
    }

    public bool IsOverfull
    {
        get
        {
            lock (gate)
                return bytes > BytesMax;
        }
    }

    public void Add(FrameType type, uint sequence, ReadOnlyMemory<byte> body)
    {
        lock (gate)
        {
            if (isClosed)
                return;
            frames.Enqueue(new Waiting(type, sequence, body));
            bytes += body.Length;
            isClosed = type == FrameType.Bye;
        }
    }

    /// <summary>Forgets all that waits, and takes no more.</summary>
    public void Clear()
    {
        lock (gate)
        {
            isClosed = true;
            frames.Clear();
            bytes = 0;
        }
    }

    /// <summary>
    /// Writes frames as long as there is room; <paramref name="dataMayFollow"/> tells whether all went.
    /// </summary>
    public int Take(Span<byte> room, FrameTagger? tagger, out bool dataMayFollow, out bool isLast)
    {
        int written = 0;
        lock (gate)
        {
            isLast = false;
            while (frames.TryPeek(out Waiting frame))
            {
                if (ProtocolConstants.FrameBytes(frame.Body.Length, tagger is not null) > room.Length - written)
                    break;
                written += FrameWriter.Write(room[written..], frame.Type, frame.Sequence, frame.Body.Span, tagger);
                bytes -= frame.Body.Length;
                isLast = frame.Type == FrameType.Bye;
                frames.Dequeue();
            }

            dataMayFollow = frames.Count == 0 && !isClosed;
        }

        return written;
    }
}
