namespace IotTcpGateway.Journal;

/// <summary>The segment that is being written: appends behind what is there, never over it.</summary>
internal sealed class SegmentWriter : IDisposable
{
    private readonly ISegmentFile file;
    private readonly JournalCounters counters;
    private readonly SegmentName name;
    private long position;

    private SegmentWriter(Segment segment, ISegmentFile file, JournalCounters counters)
    {
        Segment = segment;
        this.file = file;
        this.counters = counters;
        name = segment.Name;
    }

    public Segment Segment { get; }

    public ulong Nonce => name.Nonce;

    /// <summary>Where the next record goes.</summary>
    public long Position => position;

    /// <summary>
    /// Makes a segment with its first commit, whole or not at all: header, records and zeros under another name, sync,
    /// rename, sync of the directory.
    /// </summary>
    public static DiskError Begin(
        IJournalDisk disk,
        JournalCounters counters,
        in SegmentHeader header,
        ReadOnlySpan<byte> records,
        long allocateBytes,
        out SegmentWriter? writer)
    {
        writer = null;
        var name = new SegmentName(header.Number, header.Nonce);
        var segment = new Segment(name, header);
        string temporary = segment.FileName + DirectoryNames.TemporarySuffix;
        DiskError error = disk.Open(temporary, FileOpening.Create, out ISegmentFile? file);
        if (!error.IsNone)
            return error;
        error = Fill(file!, counters, header, records, allocateBytes);
        bool isRenamed = false;
        if (error.IsNone)
            error = disk.Rename(temporary, segment.FileName);
        if (error.IsNone)
        {
            isRenamed = true;
            error = counters.CountSync(disk.SyncDirectory());
        }

        if (!error.IsNone)
        {
            file!.Dispose();
            // Only a tidy up: its records are not acknowledged, and will be written under the same ids elsewhere.
            _ = disk.Unlink(isRenamed ? segment.FileName : temporary);
            return error;
        }

        writer = new SegmentWriter(segment, file!, counters) { position = SegmentHeader.Bytes + records.Length };
        segment.FileBytes = Math.Max(allocateBytes, writer.position);
        counters.CountSegment();
        return DiskError.None;
    }

    /// <summary>Writes records, and zeros behind them when they reach the end of what was allocated.</summary>
    public DiskError Append(ReadOnlySpan<byte> records, long allocateBytes, out bool isShortOfRoom)
    {
        isShortOfRoom = false;
        DiskError error = file.Write(position, records);
        if (!error.IsNone)
            return error;
        counters.CountRecordBytes(records.Length);
        position += records.Length;
        if (position <= Segment.FileBytes)
            return DiskError.None;
        Segment.FileBytes = position;
        if (allocateBytes <= position)
            return DiskError.None;
        error = Zeros.Write(file, counters, position, allocateBytes);
        isShortOfRoom = error.IsNoSpace;
        if (error.IsNone)
            Segment.FileBytes = allocateBytes;
        return isShortOfRoom ? DiskError.None : error;
    }

    /// <summary>Gives the zeros behind the last record back, if the disk lets us.</summary>
    public void CutUnused()
    {
        if (Segment.FileBytes > position && file.SetLength(position).IsNone)
            Segment.FileBytes = position;
    }

    public DiskError Sync() => counters.CountSync(file.Sync());

    public void Dispose() => file.Dispose();

    private static DiskError Fill(
        ISegmentFile file,
        JournalCounters counters,
        in SegmentHeader header,
        ReadOnlySpan<byte> records,
        long allocateBytes)
    {
        Span<byte> bytes = stackalloc byte[SegmentHeader.Bytes];
        header.Write(bytes);
        DiskError error = file.Write(0, bytes);
        if (!error.IsNone)
            return error;
        counters.CountOther(bytes.Length);
        error = file.Write(bytes.Length, records);
        if (!error.IsNone)
            return error;
        counters.CountRecordBytes(records.Length);
        error = Zeros.Write(file, counters, bytes.Length + records.Length, allocateBytes);
        return error.IsNone ? counters.CountSync(file.Sync()) : error;
    }
}

/// <summary>Real zeros: a hole would take its room from the disk only when it is written, or fail to.</summary>
internal static class Zeros
{
    private static readonly byte[] Block = new byte[64 * 1024];

    public static DiskError Write(ISegmentFile file, JournalCounters counters, long from, long to)
    {
        while (from < to)
        {
            // Up to a multiple of the block, so that pages are written whole.
            int bytes = (int)Math.Min(Block.Length - (from % Block.Length), to - from);
            DiskError error = file.Write(from, Block.AsSpan(0, bytes));
            if (!error.IsNone)
                return error;
            counters.CountPreallocated(bytes);
            from += bytes;
        }

        return DiskError.None;
    }
}

/// <summary>The names in a journal's directory beside those of segments.</summary>
internal static class DirectoryNames
{
    public const string Cursor = "cursor";
    public const string Reserve = "reserve";
    public const string TemporarySuffix = ".tmp";
    public const string BrokenSuffix = ".broken";
    public const string AlienSuffix = ".alien";
}
