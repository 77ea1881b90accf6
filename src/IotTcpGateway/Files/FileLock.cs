using System.ComponentModel;
using System.Runtime.InteropServices;

using Microsoft.Win32.SafeHandles;

namespace IotTcpGateway.Files;

/// <summary>A file that one process holds at a time; the others wait for their turn.</summary>
internal static partial class FileLock
{
    private const int ReadWriteCreateCloseOnExec = 0x80042;
    private const int OwnerOnly = 0x180;
    private const int Exclusive = 2;
    private const int Interrupted = 4;

    /// <summary>Waits for the lock; disposing the answer gives it back, and so does the end of the process.</summary>
    /// <exception cref="IOException">The file cannot be made or locked.</exception>
    public static SafeFileHandle Take(string path)
    {
        // Not a FileStream: it takes a lock of its own that does not wait but fails.
        int descriptor = Open(path, ReadWriteCreateCloseOnExec, OwnerOnly);
        if (descriptor < 0)
            throw new IOException($"{path} cannot be opened: {Why()}");
        var file = new SafeFileHandle(descriptor, ownsHandle: true);
        // Made by root, it must not keep out the service's user, whose directory this is.
        AtomicFile.TakeOwnerOf(Path.GetDirectoryName(Path.GetFullPath(path))!, path);
        while (Lock(file, Exclusive) != 0)
        {
            if (Marshal.GetLastPInvokeError() == Interrupted)
                continue;
            file.Dispose();
            throw new IOException($"{path} cannot be locked: {Why()}");
        }

        return file;
    }

    private static string Why() => new Win32Exception(Marshal.GetLastPInvokeError()).Message;

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int Lock(SafeFileHandle file, int operation);
}
