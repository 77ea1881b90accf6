namespace IotTcpGateway.Journal;

/// <summary>What a step of the scanner came to.</summary>
internal enum ScanResult
{
    Record,

    /// <summary>A whole header, so length and id are known, before a payload that is not the one written.</summary>
    DamagedBody,

    End,
}

/// <summary>
/// Walks the records of one segment in a fixed buffer, whatever is in the file: what is no record is stepped over in
/// eights of bytes, at the cost of one short checksum each, to the next whole header.
/// </summary>
internal sealed class SegmentScanner
{
    /// <summary>Large enough for the largest record.</summary>
    public const int WindowBytes = RecordHeader.PayloadBytesMax + RecordHeader.Bytes + RecordHeader.Alignment;

    private const int PageBytes = 4096;

    private readonly byte[] window = GC.AllocateUninitializedArray<byte>(WindowBytes, pinned: true);
    private ISegmentFile? file;
    private ulong nonce;
    private long limit;
    private long windowStart;
    private int windowBytes;
    private long lastId;

    /// <summary>Where the next step looks.</summary>
    public long Position { get; private set; }

    /// <summary>The first read that failed; what it would have read counts as damaged.</summary>
    public DiskError ReadError { get; private set; }

    /// <summary>The record found by the last step.</summary>
    public RecordHeader Header { get; private set; }

    /// <summary>Where the record found by the last step begins.</summary>
    public long RecordStart { get; private set; }

    /// <summary>The payload found by the last step; valid until the next one.</summary>
    public ReadOnlySpan<byte> Payload =>
        window.AsSpan((int)(RecordStart - windowStart) + RecordHeader.Bytes, Header.PayloadBytes);

    /// <summary>Begins a segment. Nothing at or behind <paramref name="scanLimit"/> is looked at.</summary>
    public void Begin(ISegmentFile segmentFile, ulong segmentNonce, long position, long scanLimit)
    {
        file = segmentFile;
        nonce = segmentNonce;
        Position = position;
        limit = scanLimit;
        windowBytes = 0;
        lastId = 0;
        ReadError = DiskError.None;
    }

    /// <summary>Lets the scanner see what was synced since it began.</summary>
    public void Extend(long scanLimit) => limit = scanLimit;

    /// <summary>Lets the next step find the record of the last one again.</summary>
    public void StepBack()
    {
        Position = RecordStart;
        lastId = Header.Id - 1;
    }

    public ScanResult Step()
    {
        while (Position + RecordHeader.Bytes <= limit)
        {
            ReadOnlySpan<byte> bytes = View(RecordHeader.Bytes);
            if (TrySkipZeros(bytes))
                continue;
            if (RecordHeader.TryRead(bytes, nonce, Position, out RecordHeader header)
                && header.Id > lastId && Position + header.TotalBytes <= limit)
            {
                return Take(header);
            }

            Position += RecordHeader.Alignment;
        }

        return ScanResult.End;
    }

    /// <summary>
    /// Where the last byte that is not zero ends, from a place on; the place itself when all are zero.
    /// </summary>
    public long FindEndOfData(long from)
    {
        long end = from;
        for (Position = from; Position < limit; Position = windowStart + windowBytes)
        {
            _ = View(1);
            int at = (int)(Position - windowStart);
            int last = window.AsSpan(at, windowBytes - at).LastIndexOfAnyExcept((byte)0);
            if (last >= 0)
                end = Position + last + 1;
        }

        return end;
    }

    private ScanResult Take(RecordHeader header)
    {
        ReadOnlySpan<byte> body = View(header.TotalBytes)[RecordHeader.Bytes..];
        bool isIntact = header.IsBodyIntact(body, nonce);
        Header = header;
        RecordStart = Position;
        lastId = header.Id;
        Position += header.TotalBytes;
        return isIntact ? ScanResult.Record : ScanResult.DamagedBody;
    }

    private bool TrySkipZeros(ReadOnlySpan<byte> header)
    {
        if (header.ContainsAnyExcept((byte)0))
            return false;
        // Preallocated zeros, most likely to the end of the file.
        int at = (int)(Position - windowStart);
        int zeros = window.AsSpan(at, windowBytes - at).IndexOfAnyExcept((byte)0);
        if (zeros < 0)
            zeros = windowBytes - at;
        Position += Math.Max(RecordHeader.Alignment, zeros & -RecordHeader.Alignment);
        return true;
    }

    private ReadOnlySpan<byte> View(int bytes)
    {
        if (Position < windowStart || Position + bytes > windowStart + windowBytes)
            Fill();
        return window.AsSpan((int)(Position - windowStart), bytes);
    }

    private void Fill()
    {
        windowStart = Position;
        windowBytes = (int)Math.Min(WindowBytes, limit - Position);
        Span<byte> wanted = window.AsSpan(0, windowBytes);
        DiskError error = file!.Read(windowStart, wanted, out int bytes);
        if (!error.IsNone)
        {
            if (ReadError.IsNone)
                ReadError = error;
            FillByPage(wanted);
            return;
        }

        // A file that is shorter than it should be has lost what was there.
        wanted[bytes..].Clear();
    }

    // What lies around a bad place can often be read.
    private void FillByPage(Span<byte> wanted)
    {
        int at = 0;
        while (at < wanted.Length)
        {
            int toPageEnd = PageBytes - (int)((windowStart + at) % PageBytes);
            Span<byte> page = wanted.Slice(at, Math.Min(toPageEnd, wanted.Length - at));
            if (!file!.Read(windowStart + at, page, out int bytes).IsNone)
                bytes = 0;
            page[bytes..].Clear();
            at += page.Length;
        }
    }
}
