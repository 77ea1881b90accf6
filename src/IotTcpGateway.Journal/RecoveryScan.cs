namespace IotTcpGateway.Journal;

// Walks the records of all segments, and finds what is missing.
internal sealed partial class Recovery
{
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

    // The last commit may be in the page cache alone: it goes to a new segment, as after a failed sync. Until then it
    // can be read here.
    private void TakeLastCommitBack(Segment segment, ISegmentFile file)
    {
        if (segment.LastId < segment.FirstId)
            return;
        long next = lastCommit.FirstId;
        bool isBehindHole = false;
        scanner.Begin(file, segment.Name.Nonce, lastCommit.Start, segment.End);
        while (scanner.Step() is ScanResult result && result != ScanResult.End)
        {
            // Behind a hole that nothing proves to be damage, the new segment would make a proof of what is none.
            long id = scanner.Header.Id;
            isBehindHole |= isLastCommitDoubtful && (id != next || result != ScanResult.Record);
            next = id + 1;
            if (result == ScanResult.Record && !isBehindHole)
                pending.Restore(scanner.Payload, id);
            else if (result == ScanResult.Record && !pending.IsEmpty)
                AddMissing(new IdRange(id, id), segment, isProven: false);
        }

        Report.IsLastCommitWrittenAgain = !pending.IsEmpty;
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
            bool isConfirmed = header.Id <= slot.Confirmed;
            Report.UnconfirmedRecords += isConfirmed ? 0 : 1;
            bool isDoubtful = !isConfirmed && header.FirstIdOfCommit == doubtfulCommit;
            visitor?.Invoke(new JournalRecord(
                header.Id, scanner.Payload, isDoubtful, isConfirmed, header.FirstIdOfCommit));
        }

        isLastCommitDoubtful = doubtfulCommit == lastCommit.FirstId;
    }

    // Whether anything was written after this commit by the process that wrote it, which it did only once it was
    // synced.
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
        long highestGiven = Math.Max(Math.Max(SyncedThrough, expectedId - 1), Math.Max(slot.Given, highestIdSeen));
        NextId = highestGiven + idsPerhapsGiven + 1;
        Report.NextId = NextId;
        Report.ConfirmedThrough = slot.Confirmed;
    }
}
