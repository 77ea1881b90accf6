using System.ComponentModel;
using System.Runtime.InteropServices;

using Microsoft.Win32.SafeHandles;

namespace IotTcpGateway.Files;

/// <summary>Replaces a small file so that after a power cut it is there whole, the old one or the new one.</summary>
internal static partial class AtomicFile
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode OwnerOnlyDirectory = OwnerOnly | UnixFileMode.UserExecute;

    /// <summary>
    /// Writes beside the file, syncs, renames over it and syncs the directory. Mode 0600; the owner is that of the old
    /// file, or of the directory, so that root may write for the service's user.
    /// </summary>
    /// <exception cref="IOException">A step failed; the old file stands.</exception>
    public static void Write(string path, ReadOnlySpan<byte> content)
    {
        string directory = Path.GetDirectoryName(Path.GetFullPath(path))!;
        MakeDirectory(directory);
        string beside = path + ".new";
        File.Delete(beside);
        var options = new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            UnixCreateMode = OwnerOnly,
            BufferSize = 0,
        };
        using (var file = new FileStream(beside, options))
        {
            file.Write(content);
            TakeOwnerOf(File.Exists(path) ? path : directory, file.SafeFileHandle, beside);
            Sync(file.SafeFileHandle, beside);
        }

        File.Move(beside, path, overwrite: true);
        using SafeFileHandle handle = OpenDirectory(directory);
        Sync(handle, directory);
    }

    /// <summary>Writes out a new file, syncs it, and then the directory that names it.</summary>
    /// <exception cref="IOException">A step failed: the file may not last.</exception>
    public static void SyncNew(FileStream file)
    {
        file.Flush();
        Sync(file.SafeFileHandle, file.Name);
        string directory = Path.GetDirectoryName(file.Name)!;
        using SafeFileHandle handle = OpenDirectory(directory);
        Sync(handle, directory);
    }

    /// <summary>Makes a directory that only the owner may use, unless it is there.</summary>
    public static void MakeDirectory(string directory)
    {
        if (!Directory.Exists(directory))
            Directory.CreateDirectory(directory, OwnerOnlyDirectory);
    }

    private static SafeFileHandle OpenDirectory(string directory)
    {
        // Without O_DIRECTORY: its value differs between processors, and what is O_DIRECTORY on x86 is O_DIRECT on ARM.
        const int readOnlyCloseOnExec = 0x80000;
        int descriptor = Open(directory, readOnlyCloseOnExec);
        return descriptor >= 0
            ? new SafeFileHandle(descriptor, ownsHandle: true)
            : throw new IOException($"{directory} cannot be opened: {Why()}");
    }

    private static void Sync(SafeFileHandle handle, string path)
    {
        if (FileSync(handle) != 0)
            throw new IOException($"{path} cannot be synced: {Why()}");
    }

    /// <summary>
    /// Gives a new file the owner and group of another, or of a directory; only root can, for others it is theirs. By its
    /// descriptor: by its name, whoever owns the directory could have another file given to him.
    /// </summary>
    /// <exception cref="IOException">It cannot be done.</exception>
    public static unsafe void TakeOwnerOf(string model, SafeFileHandle file, string path)
    {
        // statx(2): stx_uid and stx_gid at bytes 20 and 24 of a 256-byte structure, on every architecture.
        byte* status = stackalloc byte[256];
        const int currentDirectory = -100;
        const int ofTheLinkItself = 0x100;
        const uint basicStats = 0x7FF;
        if (Status(currentDirectory, model, ofTheLinkItself, basicStats, status) != 0)
            throw new IOException($"{model} cannot be looked at: {Why()}");
        uint user = *(uint*)(status + 20);
        uint group = *(uint*)(status + 24);
        // Only root can give a file away; for anybody else the file is his already, and stays so.
        if (Environment.IsPrivilegedProcess && ChangeOwner(file, user, group) != 0)
            throw new IOException($"the owner of {path} cannot be set: {Why()}");
    }

    private static string Why() => new Win32Exception(Marshal.GetLastPInvokeError()).Message;

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int FileSync(SafeFileHandle handle);

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static unsafe partial int Status(int directory, string path, int flags, uint mask, byte* status);

    [LibraryImport("libc", EntryPoint = "fchown", SetLastError = true)]
    private static partial int ChangeOwner(SafeFileHandle file, uint user, uint group);
}
