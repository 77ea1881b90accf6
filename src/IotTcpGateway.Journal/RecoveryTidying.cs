namespace IotTcpGateway.Journal;

// What is changed on disk after everything is known.
internal sealed partial class Recovery
{
    // Cuts what is behind the newest segment's last record: zeros simply, anything else after a copy. What may have
    // held records goes only after the promise is durable that no id which may have been in it will be given again.
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
}
