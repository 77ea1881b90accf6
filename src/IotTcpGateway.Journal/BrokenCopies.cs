namespace IotTcpGateway.Journal;

/// <summary>What was found broken, kept for whoever wants to look into it, within a cap in bytes.</summary>
internal sealed class BrokenCopies(IJournalDisk disk, JournalCounters counters, long bytesMax)
{
    private readonly byte[] buffer = new byte[16 * 1024];
    private readonly Queue<(string Name, long Bytes)> kept = new();
    private long total;

    /// <summary>Takes note of a copy from an earlier start; the oldest is named first.</summary>
    public void Add(string name)
    {
        if (!disk.Open(name, FileOpening.Read, out ISegmentFile? file).IsNone)
            return;
        using (file)
        {
            if (file!.Length(out long bytes).IsNone)
                Keep(name, bytes);
        }
    }

    /// <summary>Copies a part of a segment, synced when it succeeds; no more than the cap.</summary>
    public DiskError Copy(ISegmentFile source, string segment, long from, long to)
    {
        long bytes = Math.Min(to - from, bytesMax);
        DiskError error = MakeRoom(bytes);
        if (!error.IsNone)
            return error;
        string name = $"{segment}.{from:x8}{DirectoryNames.BrokenSuffix}";
        error = disk.Open(name, FileOpening.Create, out ISegmentFile? copy);
        if (!error.IsNone)
            return error;
        using (copy)
        {
            error = CopyBytes(source, copy!, from, bytes);
            if (error.IsNone)
                error = counters.CountSync(copy!.Sync());
        }

        if (error.IsNone)
            error = counters.CountSync(disk.SyncDirectory());
        if (error.IsNone)
            Keep(name, bytes);
        return error;
    }

    /// <summary>Sets a whole segment aside, cut to the cap.</summary>
    public DiskError SetAside(string segment, long bytes)
    {
        DiskError error = MakeRoom(Math.Min(bytes, bytesMax));
        if (error.IsNone && bytes > bytesMax)
            error = Cut(segment);
        if (!error.IsNone)
            return error;
        string name = segment + DirectoryNames.BrokenSuffix;
        error = disk.Rename(segment, name);
        if (error.IsNone)
            Keep(name, Math.Min(bytes, bytesMax));
        return error;
    }

    private DiskError Cut(string segment)
    {
        DiskError error = disk.Open(segment, FileOpening.ReadWrite, out ISegmentFile? file);
        if (!error.IsNone)
            return error;
        using (file)
            return file!.SetLength(bytesMax);
    }

    private DiskError CopyBytes(ISegmentFile source, ISegmentFile copy, long from, long bytes)
    {
        for (long done = 0; done < bytes;)
        {
            Span<byte> part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, bytes - done));
            DiskError error = source.Read(from + done, part, out int read);
            if (!error.IsNone)
                return error;
            if (read == 0)
                break;
            error = copy.Write(done, part[..read]);
            if (!error.IsNone)
                return error;
            counters.CountOther(read);
            done += read;
        }

        return DiskError.None;
    }

    private DiskError MakeRoom(long bytes)
    {
        while (total + bytes > bytesMax && kept.TryDequeue(out (string Name, long Bytes) oldest))
        {
            DiskError error = disk.Unlink(oldest.Name);
            if (!error.IsNone)
                return error;
            total -= oldest.Bytes;
        }

        return DiskError.None;
    }

    private void Keep(string name, long bytes)
    {
        kept.Enqueue((name, bytes));
        total += bytes;
    }
}
