using System.Runtime.InteropServices;

namespace IotTcpGateway.Journal;

/// <summary>What was asked of the disk.</summary>
public enum DiskOperation
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>The names in the directory.</summary>
    List,

    /// <summary>open(2).</summary>
    Open,

    /// <summary>fstat(2) for the length.</summary>
    Length,

    /// <summary>pread(2).</summary>
    Read,

    /// <summary>pwrite(2).</summary>
    Write,

    /// <summary>ftruncate(2).</summary>
    SetLength,

    /// <summary>fdatasync(2).</summary>
    Sync,

    /// <summary>posix_fadvise(2) with POSIX_FADV_DONTNEED.</summary>
    DropCache,

    /// <summary>rename(2).</summary>
    Rename,

    /// <summary>unlink(2).</summary>
    Unlink,

    /// <summary>fsync(2) of the directory.</summary>
    SyncDirectory,

    /// <summary>statvfs(3).</summary>
    FreeBytes,
}

/// <summary>The outcome of a disk operation: nothing, or what failed with which errno of Linux.</summary>
/// <param name="Operation">What failed.</param>
/// <param name="Errno">Why; 0 is success.</param>
public readonly record struct DiskError(DiskOperation Operation, int Errno)
{
    /// <summary>EIO: the device could not do it.</summary>
    public const int InputOutput = 5;

    /// <summary>ENOENT: there is no such file.</summary>
    public const int NoEntry = 2;

    /// <summary>EEXIST: there is already such a file.</summary>
    public const int Exists = 17;

    /// <summary>ENOSPC: the file system is full.</summary>
    public const int NoSpace = 28;

    /// <summary>EROFS: the file system is read-only.</summary>
    public const int ReadOnly = 30;

    /// <summary>EDQUOT: the quota is used up.</summary>
    public const int QuotaExceeded = 122;

    /// <summary>Success.</summary>
    public static DiskError None => default;

    /// <summary>Whether it is success.</summary>
    public bool IsNone => Errno == 0;

    /// <summary>Whether room is what was missing.</summary>
    public bool IsNoSpace => Errno is NoSpace or QuotaExceeded;

    /// <summary>For people: <c>Sync: Input/output error (errno 5)</c>.</summary>
    public override string ToString() =>
        IsNone ? "none" : $"{Operation}: {Marshal.GetPInvokeErrorMessage(Errno)} (errno {Errno})";
}
