using System.Runtime.InteropServices;

namespace IotTcpGateway.Journal;

/// <summary>A directory of Linux, through the system's own calls because the runtime hides failed syncs.</summary>
/// <param name="directory">Where the journal lives; it must be there already.</param>
/// <param name="isReadOnly">Every change is refused with EROFS: to look at the journal of a live gateway.</param>
public sealed class PosixDisk(string directory, bool isReadOnly = false) : IJournalDisk
{
    /// <inheritdoc/>
    public DiskError List(ICollection<string> names)
    {
        try
        {
            foreach (FileInfo file in new DirectoryInfo(directory).EnumerateFiles())
            {
                if (file.LinkTarget is null)
                    names.Add(file.Name);
            }

            return DiskError.None;
        }
        catch (DirectoryNotFoundException)
        {
            return new DiskError(DiskOperation.List, DiskError.NoEntry);
        }
        catch (UnauthorizedAccessException)
        {
            const int permissionDenied = 13;
            return new DiskError(DiskOperation.List, permissionDenied);
        }
        catch (IOException)
        {
            return new DiskError(DiskOperation.List, DiskError.InputOutput);
        }
    }

    /// <inheritdoc/>
    public DiskError Open(string name, FileOpening opening, out ISegmentFile? file)
    {
        file = null;
        if (isReadOnly && opening != FileOpening.Read)
            return new DiskError(DiskOperation.Open, DiskError.ReadOnly);
        int flags = LibC.CloseOnExec | opening switch
        {
            FileOpening.Read => 0,
            FileOpening.ReadWrite => LibC.ForReadingAndWriting,
            _ => LibC.ForReadingAndWriting | LibC.Create | LibC.Truncate,
        };
        const int ownerAndGroup = 0b110_100_000;
        int descriptor;
        do
        {
            descriptor = LibC.Open(PathOf(name), flags, ownerAndGroup);
        }
        while (descriptor < 0 && LibC.WasInterrupted);
        if (descriptor < 0)
            return LibC.Failed(DiskOperation.Open);
        file = new PosixFile(descriptor, isReadOnly);
        return DiskError.None;
    }

    /// <inheritdoc/>
    public DiskError Rename(string from, string to) => isReadOnly
        ? new DiskError(DiskOperation.Rename, DiskError.ReadOnly)
        : LibC.Outcome(LibC.Rename(PathOf(from), PathOf(to)), DiskOperation.Rename);

    /// <inheritdoc/>
    public DiskError Unlink(string name) => isReadOnly
        ? new DiskError(DiskOperation.Unlink, DiskError.ReadOnly)
        : LibC.Outcome(LibC.Unlink(PathOf(name)), DiskOperation.Unlink);

    /// <inheritdoc/>
    public DiskError SyncDirectory()
    {
        if (isReadOnly)
            return new DiskError(DiskOperation.SyncDirectory, DiskError.ReadOnly);
        int descriptor = LibC.Open(directory, LibC.CloseOnExec, 0);
        if (descriptor < 0)
            return LibC.Failed(DiskOperation.SyncDirectory);
        int result;
        do
        {
            result = LibC.SyncAll(descriptor);
        }
        while (result != 0 && LibC.WasInterrupted);
        DiskError error = LibC.Outcome(result, DiskOperation.SyncDirectory);
        _ = LibC.Close(descriptor); // it was only read from: nothing can be lost here
        return error;
    }

    /// <inheritdoc/>
    public unsafe DiskError FreeBytes(out long bytes)
    {
        // statvfs of 64-bit Linux: f_frsize is the second word, f_bavail the fifth; the structure is below 256 bytes.
        ulong* status = stackalloc ulong[32];
        int result = LibC.FileSystemStatus(directory, status);
        bytes = result == 0 ? (long)Math.Min(status[1] * status[4], long.MaxValue) : 0;
        return LibC.Outcome(result, DiskOperation.FreeBytes);
    }

    private string PathOf(string name) => Path.Combine(directory, name);
}

/// <summary>An open file of Linux.</summary>
internal sealed class PosixFile(int descriptor, bool isReadOnly) : ISegmentFile
{
    private int descriptor = descriptor;

    public DiskError Length(out long bytes)
    {
        const int fromTheEnd = 2;
        bytes = LibC.Seek(descriptor, 0, fromTheEnd);
        return LibC.Outcome(bytes < 0 ? -1 : 0, DiskOperation.Length);
    }

    public unsafe DiskError Read(long offset, Span<byte> buffer, out int bytes)
    {
        bytes = 0;
        fixed (byte* start = buffer)
        {
            while (bytes < buffer.Length)
            {
                nint read = LibC.Read(descriptor, start + bytes, (nuint)(buffer.Length - bytes), offset + bytes);
                if (read == 0)
                    break;
                if (read > 0)
                    bytes += (int)read;
                else if (!LibC.WasInterrupted)
                    return LibC.Failed(DiskOperation.Read);
            }
        }

        return DiskError.None;
    }

    public unsafe DiskError Write(long offset, ReadOnlySpan<byte> bytes)
    {
        int done = 0;
        fixed (byte* start = bytes)
        {
            while (done < bytes.Length)
            {
                nint written = LibC.Write(descriptor, start + done, (nuint)(bytes.Length - done), offset + done);
                if (written > 0)
                    done += (int)written;
                else if (written == 0)
                    return new DiskError(DiskOperation.Write, DiskError.NoSpace);
                else if (!LibC.WasInterrupted)
                    return LibC.Failed(DiskOperation.Write);
            }
        }

        return DiskError.None;
    }

    public DiskError SetLength(long bytes)
    {
        int result;
        do
        {
            result = LibC.SetLength(descriptor, bytes);
        }
        while (result != 0 && LibC.WasInterrupted);
        return LibC.Outcome(result, DiskOperation.SetLength);
    }

    public DiskError Sync()
    {
        if (isReadOnly)
            return new DiskError(DiskOperation.Sync, DiskError.ReadOnly);
        int result;
        do
        {
            result = LibC.SyncData(descriptor);
        }
        while (result != 0 && LibC.WasInterrupted);
        return LibC.Outcome(result, DiskOperation.Sync);
    }

    public DiskError DropCache()
    {
        // The pages may be another process' that is about to need them.
        if (isReadOnly)
            return new DiskError(DiskOperation.DropCache, DiskError.ReadOnly);
        const int dontNeed = 4;
        // posix_fadvise gives the error back instead of setting errno.
        int error = LibC.Advise(descriptor, 0, 0, dontNeed);
        return error == 0 ? DiskError.None : new DiskError(DiskOperation.DropCache, error);
    }

    public void Dispose()
    {
        // What must last was synced before; close has nothing more to say about it, and must never be repeated.
        int closing = Interlocked.Exchange(ref descriptor, -1);
        if (closing >= 0)
            _ = LibC.Close(closing);
    }
}

/// <summary>The system's calls, with the constants of 64-bit Linux.</summary>
internal static partial class LibC
{
    public const int ForReadingAndWriting = 0x2;
    public const int Create = 0x40;
    public const int Truncate = 0x200;
    public const int CloseOnExec = 0x8_0000;

    private const int Interrupted = 4;

    public static bool WasInterrupted => Marshal.GetLastPInvokeError() == Interrupted;

    public static DiskError Failed(DiskOperation operation) => new(operation, Marshal.GetLastPInvokeError());

    public static DiskError Outcome(int result, DiskOperation operation) =>
        result == 0 ? DiskError.None : Failed(operation);

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    public static partial int Close(int descriptor);

    [LibraryImport("libc", EntryPoint = "pread", SetLastError = true)]
    public static unsafe partial nint Read(int descriptor, byte* buffer, nuint bytes, long offset);

    [LibraryImport("libc", EntryPoint = "pwrite", SetLastError = true)]
    public static unsafe partial nint Write(int descriptor, byte* buffer, nuint bytes, long offset);

    [LibraryImport("libc", EntryPoint = "lseek", SetLastError = true)]
    public static partial long Seek(int descriptor, long offset, int whence);

    [LibraryImport("libc", EntryPoint = "ftruncate", SetLastError = true)]
    public static partial int SetLength(int descriptor, long bytes);

    [LibraryImport("libc", EntryPoint = "fdatasync", SetLastError = true)]
    public static partial int SyncData(int descriptor);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    public static partial int SyncAll(int descriptor);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    public static partial int Advise(int descriptor, long offset, long bytes, int advice);

    [LibraryImport("libc", EntryPoint = "rename", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Rename(string from, string to);

    [LibraryImport("libc", EntryPoint = "unlink", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static partial int Unlink(string path);

    [LibraryImport("libc", EntryPoint = "statvfs", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    public static unsafe partial int FileSystemStatus(string path, ulong* status);
}
