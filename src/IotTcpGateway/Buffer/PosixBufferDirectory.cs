using System.Runtime.InteropServices;

using IotTcpGateway.Files;
using IotTcpGateway.Journal;

using Microsoft.Win32.SafeHandles;

namespace IotTcpGateway.Buffer;

/// <summary>A directory of Linux. Whatever is made is the owner's alone.</summary>
internal sealed partial class PosixBufferDirectory(string path) : IBufferDirectory, IDisposable
{
    /// <summary>Errno when another process has it.</summary>
    public const int InUse = 11;

    public const string LockName = ".lock";

    private const int OwnerOnly = 0x1C0;
    /// <summary>Errno when it, or what is above it, is a file.</summary>
    public const int NotADirectory = 20;

    private const int FileExists = 17;
    private const int PermissionDenied = 13;
    private const int ForReadingAndWriting = 6;

    private SafeFileHandle? held;

    /// <inheritdoc/>
    public IJournalDisk Root { get; } = new PosixDisk(path);

    /// <inheritdoc/>
    public DiskError Prepare()
    {
        if (held is not null)
            return DiskError.None;
        DiskError error = Make(path);
        if (error.IsNone)
            error = SyncAbove();
        if (!error.IsNone)
            return error;
        if (Access(path, ForReadingAndWriting) != 0)
            return new DiskError(DiskOperation.Open, Marshal.GetLastPInvokeError());
        try
        {
            held = FileLock.TryTake(Path.Combine(path, LockName));
            return held is null ? new DiskError(DiskOperation.Open, InUse) : DiskError.None;
        }
        catch (IOException)
        {
            return new DiskError(DiskOperation.Open, DiskError.InputOutput);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => held?.Dispose();

    // Without its name everything in it would be gone after a power cut. Who may not open the directory above did not
    // make this one either.
    private DiskError SyncAbove()
    {
        DiskError error = Path.GetDirectoryName(path) is { Length: > 0 } above
            ? new PosixDisk(above).SyncDirectory()
            : DiskError.None;
        return error.Errno == PermissionDenied ? DiskError.None : error;
    }

    // With those above it, unless they are there.
    private static DiskError Make(string path)
    {
        DiskError error = MakeOne(path);
        if (error.Errno != DiskError.NoEntry || Path.GetDirectoryName(path) is not { Length: > 0 } above)
            return error;
        error = Make(above);
        return error.IsNone ? MakeOne(path) : error;
    }

    /// <inheritdoc/>
    public DiskError Open(string name, out IJournalDisk disk)
    {
        string below = Path.Combine(path, name);
        disk = new PosixDisk(below);
        DiskError error = MakeOne(below);
        // Always: who made it may have been killed before its name was durable.
        return error.IsNone ? Root.SyncDirectory() : error;
    }

    /// <inheritdoc/>
    public bool Has(string name) => Directory.Exists(Path.Combine(path, name));

    private static DiskError MakeOne(string directory)
    {
        if (Directory.Exists(directory) || MakeDirectory(directory, OwnerOnly) == 0)
            return DiskError.None;
        int errno = Marshal.GetLastPInvokeError();
        if (errno != FileExists)
            return new DiskError(DiskOperation.Open, errno);
        return Directory.Exists(directory) ? DiskError.None : new DiskError(DiskOperation.Open, NotADirectory);
    }

    [LibraryImport("libc", EntryPoint = "mkdir", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakeDirectory(string path, int mode);

    [LibraryImport("libc", EntryPoint = "access", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Access(string path, int mode);
}
