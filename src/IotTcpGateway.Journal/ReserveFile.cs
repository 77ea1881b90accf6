namespace IotTcpGateway.Journal;

/// <summary>A file of real zeros that gives its room back when the disk is full.</summary>
internal sealed class ReserveFile(IJournalDisk disk, JournalCounters counters, int bytes)
{
    /// <summary>Whether the room is held.</summary>
    public bool IsHeld { get; private set; }

    /// <summary>Takes the room, or sees that it is taken already.</summary>
    public DiskError Hold()
    {
        if (IsHeld || IsThere())
        {
            IsHeld = true;
            return DiskError.None;
        }

        // Asked first, so that a full disk is not worn by trying.
        if (disk.FreeBytes(out long free).IsNone && free < bytes)
            return new DiskError(DiskOperation.FreeBytes, DiskError.NoSpace);
        const string temporary = DirectoryNames.Reserve + DirectoryNames.TemporarySuffix;
        DiskError error = disk.Open(temporary, FileOpening.Create, out ISegmentFile? file);
        if (!error.IsNone)
            return error;
        using (file)
        {
            error = Zeros.Write(file!, counters, 0, bytes);
            if (error.IsNone)
                error = counters.CountSync(file!.Sync());
        }

        if (error.IsNone)
            error = disk.Rename(temporary, DirectoryNames.Reserve);
        if (error.IsNone)
            error = counters.CountSync(disk.SyncDirectory());
        if (!error.IsNone)
            _ = disk.Unlink(temporary); // only a tidy up: the next start removes it too
        IsHeld = error.IsNone;
        return error;
    }

    /// <summary>Gives the room back; false when there was none to give.</summary>
    public bool Release()
    {
        if (!IsHeld)
            return false;
        IsHeld = false;
        DiskError error = disk.Unlink(DirectoryNames.Reserve);
        // Some file systems give the blocks back when the removal is durable.
        return error.IsNone && counters.CountSync(disk.SyncDirectory()).IsNone;
    }

    private bool IsThere()
    {
        if (!disk.Open(DirectoryNames.Reserve, FileOpening.Read, out ISegmentFile? file).IsNone)
            return false;
        using (file)
            return file!.Length(out long length).IsNone && length >= bytes;
    }
}
