namespace IotTcpGateway.Journal;

/// <summary>
/// Finds out what is on disk, in constant memory and whatever the damage, and tidies as far as the disk lets it. Only a
/// directory that cannot be listed stops it.
/// </summary>
internal sealed class Recovery(
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

    private static bool IsTemporary(string file) => file.EndsWith(DirectoryNames.TemporarySuffix, StringComparison.Ordinal)
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

    private void ScanAll()
    {
        Report.Segments = Segments.Count;
        expectedId = slot.Confirmed + 1;
        if (Report.Cursor == CursorState.Lost && Segments.Count > 0)
        {
            // What was before the oldest segment was confirmed once, or given up.
            expectedId = Segments[0].FirstId;
            slot = slot with { Confirmed = expectedId - 1 };
        }

        long[] bounds = new long[Segments.Count];
        long bound = long.MaxValue;
        for (int i = bounds.Length - 1; i >= 0; i--)
        {
            bounds[i] = bound;
            bound = Math.Min(bound, Segments[i].FirstId);
        }

        for (int i = 0; i < Segments.Count; i++)
            Scan(i, bounds[i]);
        // Not ours to read, so not ours to remove either; the next start may have more luck.
        Report.UnreadableSegments += Segments.RemoveAll(s => s.IsUnreadable);
    }

    private void Scan(int index, long bound)
    {
        Segment segment = Segments[index];
        Expect(segment);
        DiskError error = disk.Open(segment.FileName, FileOpening.Read, out ISegmentFile? file);
        if (!error.IsNone)
        {
            Report.NoteRead(error);
            idsPerhapsGiven += IdsIn(segment.FileBytes);
            segment.IsUnreadable = true;
            return;
        }

        using (file)
        {
            bool isNewest = index == Segments.Count - 1;
            if (isNewest)
                SeeWhatIsOnDisk(file!);
            scanner.Begin(file!, segment.Name.Nonce, SegmentHeader.Bytes, segment.FileBytes);
            ScanRecords(index, bound, file!);
            if (isNewest)
            {
                endOfTornTail = scanner.FindEndOfData(segment.End);
                Report.TornBytes = endOfTornTail - segment.End;
                isNewestUnreadable = !scanner.ReadError.IsNone;
                idsPerhapsGiven += IdsIn(isNewestUnreadable ? segment.FileBytes - segment.End : Report.TornBytes);
            }

            Report.NoteRead(scanner.ReadError);
            if (isNewest && !Report.IsFromDisk)
                TakeLastCommitBack(segment, file!);
        }
    }

    // The last commit may be in the page cache alone: it goes to a new segment, as after a failed sync. Until then it can
    // be read here.
    private void TakeLastCommitBack(Segment segment, ISegmentFile file)
    {
        if (segment.LastId < segment.FirstId)
            return;
        scanner.Begin(file, segment.Name.Nonce, lastCommit.Start, segment.End);
        while (scanner.Step() is ScanResult result && result != ScanResult.End)
        {
            if (result == ScanResult.Record)
                pending.Restore(scanner.Payload, scanner.Header.Id);
        }
    }

    private void ScanRecords(int index, long bound, ISegmentFile file)
    {
        Segment segment = Segments[index];
        lastCommit = default;
        long doubtfulCommit = -1;
        long provenCommit = -1;
        while (scanner.Step() is ScanResult result && result != ScanResult.End)
        {
            RecordHeader header = scanner.Header;
            highestIdSeen = Math.Max(highestIdSeen, header.Id);
            // A later segment begins with this id: there it was written again after a failed sync.
            if (result == ScanResult.DamagedBody || header.Id >= bound || header.Id < segment.FirstId)
                continue;
            if (header.Id > expectedId)
            {
                var missing = new IdRange(expectedId, header.Id - 1);
                long commit = header.FirstIdOfCommit;
                bool isProven = commit > missing.Last || commit == provenCommit
                    || (commit != doubtfulCommit && IsCommitProven(index, header, file));
                if (isProven)
                    provenCommit = commit;
                else
                    doubtfulCommit = commit;
                AddMissing(missing, segment, isProven);
            }

            expectedId = Math.Max(expectedId, header.Id + 1);
            if (lastCommit.FirstId != header.FirstIdOfCommit)
                lastCommit = new LastCommit(header.FirstIdOfCommit, scanner.RecordStart);
            segment.Publish(header.Id, scanner.Position);
            Report.Records++;
            if (header.Id <= slot.Confirmed)
                continue;
            Report.UnconfirmedRecords++;
            visitor?.Invoke(new JournalRecord(header.Id, scanner.Payload, header.FirstIdOfCommit == doubtfulCommit));
        }
    }

    // Whether anything was written after this commit by the process that wrote it, which it did only once it was synced.
    private bool IsCommitProven(int index, RecordHeader header, ISegmentFile file)
    {
        // The first one came into being with its segment.
        if (header.FirstIdOfCommit == Segments[index].FirstId && !Segments[index].IsHeaderLost)
            return true;
        if (index + 1 < Segments.Count && !Segments[index + 1].IsFirstOfRun)
            return true;
        commitScanner ??= new SegmentScanner();
        commitScanner.Begin(file, Segments[index].Name.Nonce, scanner.Position, Segments[index].FileBytes);
        while (commitScanner.Step() != ScanResult.End)
        {
            if (commitScanner.Header.FirstIdOfCommit > header.FirstIdOfCommit)
                return true;
        }

        return false;
    }

    // Ids that the segment's writer skipped are not missing.
    private void Expect(Segment segment)
    {
        var missing = new IdRange(expectedId, segment.FirstId - segment.SkippedIds - 1);
        if (!missing.IsEmpty)
            AddMissing(missing, segment, isProven: !segment.IsHeaderLost);
        expectedId = Math.Max(expectedId, segment.FirstId);
    }

    private void AddMissing(IdRange ids, Segment segment, bool isProven)
    {
        var unconfirmed = ids with { First = Math.Max(ids.First, slot.Confirmed + 1) };
        if (!unconfirmed.IsEmpty)
            Report.AddMissing(new DamagedRange(unconfirmed, segment.FileName, isProven));
    }

    private void DecideNextId()
    {
        if (slot.Synced >= expectedId && Segments.Count > 0)
            AddMissing(new IdRange(expectedId, slot.Synced), Segments[^1], isProven: true);
        long lastOnDisk = pending.IsEmpty ? expectedId - 1 : pending.FirstId - 1;
        SyncedThrough = Math.Max(lastOnDisk, Math.Max(slot.Synced, slot.Confirmed));
        NextId = Math.Max(Math.Max(SyncedThrough, expectedId - 1), Math.Max(slot.Given, highestIdSeen)) + idsPerhapsGiven + 1;
        Report.NextId = NextId;
        Report.ConfirmedThrough = slot.Confirmed;
    }

    // Cuts what is behind the newest segment's last record: zeros simply, anything else after a copy. What may have held
    // records goes only after the promise is durable that no id which may have been in it will be given again.
    private void Tidy()
    {
        bool mayLoseIds = Report.TornBytes > 0 || brokenSegments.Count > 0;
        if (mayLoseIds
            && !Report.NoteWrite(cursorFile.Write(new CursorSlot(slot.Confirmed, SyncedThrough, NextId - 1))).IsNone)
        {
            return;
        }

        foreach ((string file, long bytes) in brokenSegments)
            Report.NoteWrite(broken.SetAside(file, bytes));
        if (brokenSegments.Count > 0)
            Report.NoteWrite(counters.CountSync(disk.SyncDirectory()));
        // While a part of it is to be written anew it stays as it is.
        if (Segments.Count > 0 && Segments[^1].FileBytes > Segments[^1].End && !isNewestUnreadable && pending.IsEmpty)
            CutNewest(Segments[^1]);
    }

    private void CutNewest(Segment newest)
    {
        DiskError error = disk.Open(newest.FileName, FileOpening.ReadWrite, out ISegmentFile? file);
        if (error.IsNone)
        {
            using (file)
                error = Cut(newest, file!);
        }

        Report.NoteWrite(error);
        Report.IsTornTailCut = Report.TornBytes > 0 && error.IsNone;
    }

    private DiskError Cut(Segment newest, ISegmentFile file)
    {
        DiskError error = DiskError.None;
        if (Report.TornBytes > 0)
            error = broken.Copy(file, newest.FileName, newest.End, endOfTornTail);
        if (error.IsNone)
            error = file.SetLength(newest.End);
        if (!error.IsNone)
            return error;
        newest.FileBytes = newest.End;
        return counters.CountSync(file.Sync());
    }

    private static long IdsIn(long bytes) => bytes > 0 ? (bytes / RecordHeader.Bytes) + 1 : 0;

    private readonly record struct LastCommit(long FirstId, long Start);
}
