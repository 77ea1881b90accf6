namespace IotTcpGateway.Journal;

/// <summary>
/// Finds out what is on disk, in constant memory and whatever the damage, and tidies as far as the disk lets it. Only a
/// directory that cannot be listed stops it.
/// </summary>
internal sealed partial class Recovery(
    IJournalDisk disk,
    JournalOptions options,
    JournalCounters counters,
    CursorFile cursorFile,
    PendingRecords pending,
    RecordVisitor? visitor)
{
    private readonly SegmentScanner scanner = new();
    private readonly BrokenCopies broken = new(disk, counters, options.BrokenBytesMax);
    private readonly List<SegmentName> names = [];
    private readonly List<(string File, long Bytes)> brokenSegments = [];
    private SegmentScanner? commitScanner;
    private CursorSlot slot;
    private long expectedId;
    private long highestIdSeen;
    private long idsPerhapsGiven;
    private long endOfTornTail;
    private bool isNewestUnreadable = true;
    private LastCommit lastCommit;
    private bool isLastCommitDoubtful;

    public RecoveryReport Report { get; } = new();

    /// <summary>The segments that can be read, oldest first.</summary>
    public List<Segment> Segments { get; } = [];

    /// <summary>Every id up to this one was given to a record that was synced.</summary>
    public long SyncedThrough { get; private set; }

    public long NextId { get; private set; }

    public ulong NextSegmentNumber { get; private set; } = 1;

    public long ConfirmedThrough => slot.Confirmed;

    public DiskError Run()
    {
        var files = new List<string>();
        DiskError error = disk.List(files);
        if (!error.IsNone)
            return error;
        // Names that a killed process left unsynced; after this they are as durable as what they lead to.
        Report.NoteWrite(counters.CountSync(disk.SyncDirectory()));
        Sort(files);
        FindCursor(files.Contains(DirectoryNames.Cursor));
        LoadHeaders();
        ScanAll();
        DecideNextId();
        Tidy();
        return DiskError.None;
    }

    private void Sort(List<string> files)
    {
        files.Sort(string.CompareOrdinal);
        bool isDirectoryChanged = false;
        foreach (string file in files)
        {
            if (SegmentName.TryParse(file, out SegmentName name))
                names.Add(name);
            else if (IsTemporary(file))
                Report.NoteWrite(disk.Unlink(file));
            else if (file.EndsWith(DirectoryNames.BrokenSuffix, StringComparison.Ordinal))
                broken.Add(file);
            else if (IsAlien(file))
                isDirectoryChanged |= SetAlienAside(file);
        }

        names.Sort();
        if (names.Count > 0)
            NextSegmentNumber = names[^1].Number + 1;
        if (isDirectoryChanged)
            Report.NoteWrite(counters.CountSync(disk.SyncDirectory()));
    }

    private static bool IsTemporary(string file) =>
        file.EndsWith(DirectoryNames.TemporarySuffix, StringComparison.Ordinal)
        && file[..^DirectoryNames.TemporarySuffix.Length] is string stem
        && (stem is DirectoryNames.Cursor or DirectoryNames.Reserve || SegmentName.TryParse(stem, out _));

    private static bool IsAlien(string file) => file is not (DirectoryNames.Cursor or DirectoryNames.Reserve)
        && !file.StartsWith('.')
        && !file.EndsWith(DirectoryNames.AlienSuffix, StringComparison.Ordinal);

    private bool SetAlienAside(string file)
    {
        Report.AlienFiles++;
        return Report.NoteWrite(disk.Rename(file, file + DirectoryNames.AlienSuffix)).IsNone;
    }

    private void FindCursor(bool isThere)
    {
        if (isThere)
            Report.Cursor = cursorFile.Read(out slot);
        else
            Report.Cursor = names.Count == 0 ? CursorState.New : CursorState.Lost;
    }

    private void LoadHeaders()
    {
        foreach (SegmentName name in names)
        {
            DiskError error = disk.Open(name.ToString(), FileOpening.Read, out ISegmentFile? file);
            long bytes = options.SegmentBytes;
            if (error.IsNone)
            {
                using (file)
                {
                    error = file!.Length(out bytes);
                    if (error.IsNone)
                        error = LoadHeader(name, file, bytes);
                }
            }

            if (error.IsNone)
                continue;
            Report.NoteRead(error);
            Report.UnreadableSegments++;
            idsPerhapsGiven += IdsIn(bytes);
        }
    }

    // A killed process leaves records in the page cache that were never synced, or whose sync failed. Only the newest
    // segment can have such records that count.
    private void SeeWhatIsOnDisk(ISegmentFile newest)
    {
        DiskError synced = Report.NoteWrite(counters.CountSync(newest.Sync()));
        DiskError dropped = newest.DropCache();
        Report.IsFromDisk = synced.IsNone && dropped.IsNone;
    }

    private DiskError LoadHeader(SegmentName name, ISegmentFile file, long bytes)
    {
        Span<byte> headerBytes = stackalloc byte[SegmentHeader.Bytes];
        headerBytes.Clear();
        DiskError error = file.Read(0, headerBytes, out _);
        SegmentHeaderKind kind = SegmentHeaderKind.Damaged;
        SegmentHeader header = default;
        if (error.IsNone)
            kind = SegmentHeader.Read(headerBytes, name, out header);
        else
            Report.NoteRead(error);
        switch (kind)
        {
            case SegmentHeaderKind.OtherVersion or SegmentHeaderKind.OtherSegment:
                SetAlienAside(name.ToString());
                return DiskError.None;
            case SegmentHeaderKind.Damaged:
                return LoadWithoutHeader(name, file, bytes);
            default:
                Segments.Add(new Segment(name, header) { FileBytes = bytes, IsSealed = true });
                return DiskError.None;
        }
    }

    private DiskError LoadWithoutHeader(SegmentName name, ISegmentFile file, long bytes)
    {
        scanner.Begin(file, name.Nonce, SegmentHeader.Bytes, bytes);
        ScanResult result;
        do
        {
            result = scanner.Step();
        }
        while (result == ScanResult.DamagedBody);
        if (result == ScanResult.Record)
        {
            Report.DamagedHeaders++;
            var header = new SegmentHeader(name.Number, name.Nonce, scanner.Header.Id, 0, IsFirstOfRun: true);
            Segments.Add(new Segment(name, header) { FileBytes = bytes, IsSealed = true, IsHeaderLost = true });
            return DiskError.None;
        }

        if (!scanner.ReadError.IsNone)
            return scanner.ReadError;
        Report.BrokenSegments++;
        idsPerhapsGiven += IdsIn(bytes);
        brokenSegments.Add((name.ToString(), bytes));
        return DiskError.None;
    }

    private static long IdsIn(long bytes) => bytes > 0 ? (bytes / RecordHeader.Bytes) + 1 : 0;

    private readonly record struct LastCommit(long FirstId, long Start);
}
