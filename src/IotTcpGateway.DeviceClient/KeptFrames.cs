using System.Runtime.InteropServices;

namespace IotTcpGateway.DeviceClient;

/// <summary>What lies before a body in the ring.</summary>
[StructLayout(LayoutKind.Sequential, Pack = 1)]
internal struct KeptFrame
{
    /// <summary>Counts the frames handed over, from 1; never changes.</summary>
    public ulong Number;

    /// <summary>Timestamp of the hand-over.</summary>
    public long AcceptedAt;

    /// <summary>Bytes of the body that follows.</summary>
    public ushort BodyBytes;

    /// <summary>1 once its outcome is known while older frames are still kept: a hole.</summary>
    public ushort IsSettled;
}

/// <summary>
/// The frames kept, oldest first: one ring of bytes that grows up to its limit. Sequences are consecutive, so none is
/// stored. A second place in the ring is the next frame to send on the present connection.
/// </summary>
internal sealed class KeptFrames(int bytesMax, uint firstSequence)
{
    /// <summary>Bytes that a frame costs beside its body.</summary>
    public const int OverheadBytes = 20;

    private const int BytesAtFirst = 512;

    private byte[] ring = [];

    // Bytes counted from the beginning of time; modulo the ring's length they are places in it.
    private long head;
    private long next;
    private long tail;

    /// <summary>Frames kept, holes not counted.</summary>
    public int Count { get; private set; }

    /// <summary>Bytes in use, holes included.</summary>
    public int Bytes => (int)(tail - head);

    /// <summary>
    /// Sequence of the oldest frame, or of the next one to come. Above 32 bits it belongs to the next boot.
    /// </summary>
    public ulong HeadSequence { get; private set; } = firstSequence;

    /// <summary>Sequence of the frame that <see cref="TryPeekNext"/> looks at.</summary>
    public ulong NextSequence { get; private set; } = firstSequence;

    /// <summary>Frames handed over so far; also the number of the last.</summary>
    public ulong LastNumber { get; private set; }

    /// <summary>Whether a body can ever be kept.</summary>
    public bool CanHold(int bodyBytes) => bodyBytes + OverheadBytes <= bytesMax;

    public bool TryAdd(ReadOnlySpan<byte> body, long now)
    {
        if (!TryMakeRoom(OverheadBytes + body.Length))
            return false;
        var frame = new KeptFrame { Number = ++LastNumber, AcceptedAt = now, BodyBytes = (ushort)body.Length };
        CopyIn(tail, MemoryMarshal.AsBytes(new ReadOnlySpan<KeptFrame>(in frame)));
        CopyIn(tail + OverheadBytes, body);
        tail += OverheadBytes + body.Length;
        Count++;
        return true;
    }

    public bool TryPeekOldest(out KeptFrame frame)
    {
        bool isThere = head < tail;
        frame = isThere ? At(head) : default;
        return isThere;
    }

    /// <summary>Takes the oldest frame out.</summary>
    public void RemoveOldest()
    {
        Step(ref head);
        HeadSequence++;
        Count--;
        while (head < tail && At(head).IsSettled != 0)
        {
            Step(ref head);
            HeadSequence++;
        }

        if (next < head)
            (next, NextSequence) = (head, HeadSequence);
    }

    /// <summary>Takes one frame out; false if it is not kept.</summary>
    public bool TryRemove(uint sequence, out KeptFrame frame)
    {
        frame = default;
        long place = head;
        for (ulong s = HeadSequence; s < sequence && place < tail; s++)
            Step(ref place);
        if (sequence < HeadSequence || place >= tail)
            return false;
        frame = At(place);
        if (frame.IsSettled != 0)
            return false;
        if (place == head)
            RemoveOldest();
        else
            MakeHole(place, frame);
        return true;
    }

    /// <summary>Whether there may be a frame to send; holes count.</summary>
    public bool HasNext => next < tail;

    /// <summary>The next frame to send, holes passed over.</summary>
    public bool TryPeekNext(out KeptFrame frame)
    {
        while (next < tail)
        {
            frame = At(next);
            if (frame.IsSettled == 0)
                return true;
            Advance();
        }

        frame = default;
        return false;
    }

    public void CopyNextBody(Span<byte> destination) => CopyOut(next + OverheadBytes, destination);

    public void Advance()
    {
        Step(ref next);
        NextSequence++;
    }

    /// <summary>The next frame to send is the oldest again.</summary>
    public void Rewind() => (next, NextSequence) = (head, HeadSequence);

    /// <summary>Closes the holes and counts from 1: a new boot.</summary>
    public void Renumber()
    {
        var renumbered = new byte[ring.Length];
        int end = 0;
        for (long place = head; place < tail; Step(ref place))
        {
            KeptFrame frame = At(place);
            if (frame.IsSettled != 0)
                continue;
            int bytes = OverheadBytes + frame.BodyBytes;
            CopyOut(place, renumbered.AsSpan(end, bytes));
            end += bytes;
        }

        ring = renumbered;
        (head, tail) = (0, end);
        HeadSequence = 1;
        Rewind();
    }

    private void MakeHole(long place, KeptFrame frame)
    {
        frame.IsSettled = 1;
        CopyIn(place, MemoryMarshal.AsBytes(new ReadOnlySpan<KeptFrame>(in frame)));
        Count--;
    }

    private void Step(ref long place) => place += OverheadBytes + At(place).BodyBytes;

    private KeptFrame At(long place)
    {
        KeptFrame frame = default;
        CopyOut(place, MemoryMarshal.AsBytes(new Span<KeptFrame>(ref frame)));
        return frame;
    }

    private bool TryMakeRoom(int bytes)
    {
        long needed = (long)Bytes + bytes;
        if (needed > bytesMax)
            return false;
        if (needed > ring.Length)
            Grow((int)Math.Min(bytesMax, Math.Max(Math.Max(needed, BytesAtFirst), ring.Length * 2L)));
        return true;
    }

    private void Grow(int length)
    {
        byte[] larger = new byte[length];
        for (long place = head; place < tail;)
        {
            ReadOnlySpan<byte> run = RunAt(place, (int)(tail - place));
            Span<byte> target = larger.AsSpan((int)(place % length));
            int bytes = Math.Min(run.Length, target.Length);
            run[..bytes].CopyTo(target);
            place += bytes;
        }

        ring = larger;
    }

    private void CopyIn(long place, ReadOnlySpan<byte> bytes)
    {
        Span<byte> run = RunAt(place, bytes.Length);
        bytes[..run.Length].CopyTo(run);
        bytes[run.Length..].CopyTo(ring);
    }

    private void CopyOut(long place, Span<byte> destination)
    {
        ReadOnlySpan<byte> run = RunAt(place, destination.Length);
        run.CopyTo(destination);
        ring.AsSpan(0, destination.Length - run.Length).CopyTo(destination[run.Length..]);
    }

    private Span<byte> RunAt(long place, int bytes)
    {
        int at = (int)(place % ring.Length);
        return ring.AsSpan(at, Math.Min(bytes, ring.Length - at));
    }
}
