namespace IotTcpGateway.Journal;

/// <summary>How a file is opened.</summary>
public enum FileOpening
{
    /// <summary>It is there, and is only read (and synced).</summary>
    Read,

    /// <summary>It is there, and is changed.</summary>
    ReadWrite,

    /// <summary>It is made anew; what was there under the name is gone.</summary>
    Create,
}

/// <summary>
/// The one directory in which a journal lives; the seam between the journal and the operating system.
/// </summary>
public interface IJournalDisk
{
    /// <summary>Adds the names of all regular files.</summary>
    DiskError List(ICollection<string> names);

    /// <summary>Opens a file; <paramref name="file"/> is null when it failed.</summary>
    DiskError Open(string name, FileOpening opening, out ISegmentFile? file);

    /// <summary>
    /// Renames a file over whatever has the new name. Durable only after <see cref="SyncDirectory"/>.
    /// </summary>
    DiskError Rename(string from, string to);

    /// <summary>Removes a file; open ones can still be read. Durable only after <see cref="SyncDirectory"/>.</summary>
    DiskError Unlink(string name);

    /// <summary>Makes created, renamed and removed names durable.</summary>
    DiskError SyncDirectory();

    /// <summary>Bytes that may still be written to the file system.</summary>
    DiskError FreeBytes(out long bytes);
}

/// <summary>An open file of the journal.</summary>
public interface ISegmentFile : IDisposable
{
    /// <summary>The file's length in bytes.</summary>
    DiskError Length(out long bytes);

    /// <summary>Reads from a place; fewer bytes than asked for only at the end of the file.</summary>
    DiskError Read(long offset, Span<byte> buffer, out int bytes);

    /// <summary>Writes all bytes at a place, or fails with an unknown part written.</summary>
    DiskError Write(long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Cuts the file.</summary>
    DiskError SetLength(long bytes);

    /// <summary>
    /// Makes what was written durable. After a failure nothing that is unsynced may be believed, ever.
    /// </summary>
    DiskError Sync();

    /// <summary>Asks the system to forget cached pages, so that what is read next comes from the disk.</summary>
    DiskError DropCache();
}
