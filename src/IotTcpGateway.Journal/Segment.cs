namespace IotTcpGateway.Journal;

/// <summary>
/// What is known of a segment's file. The writing thread sets <see cref="LastId"/> and <see cref="End"/> after a sync;
/// readers look no further than these.
/// </summary>
internal sealed class Segment(SegmentName name, SegmentHeader header)
{
    private long lastId = header.FirstId - 1;
    private long end = SegmentHeader.Bytes;
    private long fileBytes;
    private bool isSealed;

    public SegmentName Name => name;

    public string FileName { get; } = name.ToString();

    public long FirstId => header.FirstId;

    public long SkippedIds => header.SkippedIds;

    public bool IsFirstOfRun => header.IsFirstOfRun;

    /// <summary>Whether the header was damaged, so that what it would say is guessed.</summary>
    public bool IsHeaderLost { get; init; }

    /// <summary>Set when recovery could not open it.</summary>
    public bool IsUnreadable { get; set; }

    /// <summary>Id of the last record that counts; below <see cref="FirstId"/> when there is none.</summary>
    public long LastId => Volatile.Read(ref lastId);

    /// <summary>Where the last record that counts ends.</summary>
    public long End => Volatile.Read(ref end);

    public long FileBytes
    {
        get => Volatile.Read(ref fileBytes);
        set => Volatile.Write(ref fileBytes, value);
    }

    /// <summary>Whether no record will come any more. Set after the last of them is published.</summary>
    public bool IsSealed
    {
        get => Volatile.Read(ref isSealed);
        set => Volatile.Write(ref isSealed, value);
    }

    /// <summary>Shows readers what is synced. The id first: a reader that sees the end may go by the id.</summary>
    public void Publish(long newLastId, long newEnd)
    {
        Volatile.Write(ref lastId, newLastId);
        Volatile.Write(ref end, newEnd);
    }
}
