using System.ComponentModel;
using System.Runtime.InteropServices;

using Microsoft.Win32.SafeHandles;

namespace IotTcpGateway.Files;

/// <summary>A file that one process holds at a time; the others wait for their turn.</summary>
internal static partial class FileLock
{
    private const int CreateNewCloseOnExec = 0x800C2;
    private const int ReadWriteCloseOnExec = 0x80002;
    private const int OwnerOnly = 0x180;
    private const int ReadCloseOnExec = 0x80000;
    private const int Shared = 1;
    private const int Exclusive = 2;
    private const int WithoutWaiting = 4;
    private const int Interrupted = 4;
    private const int WouldBlock = 11;
    private const int NoEntry = 2;
    private const int Exists = 17;
    private const int AttemptsMax = 10_000;

    /// <summary>Waits for the lock; disposing the answer gives it back, and so does the end of the process.</summary>
    /// <exception cref="IOException">The file cannot be made or locked.</exception>
    public static SafeFileHandle Take(string path)
    {
        SafeFileHandle file = OpenOrMake(path);
        TryLock(file, Exclusive, path);
        return file;
    }

    /// <summary>Takes the lock if nobody has it; null if somebody does.</summary>
    /// <exception cref="IOException">The file cannot be made or locked.</exception>
    public static SafeFileHandle? TryTake(string path)
    {
        SafeFileHandle file = OpenOrMake(path);
        for (int attempt = 0; attempt < AttemptsMax; attempt++)
        {
            if (TryLock(file, Exclusive | WithoutWaiting, path))
                return file;
            // Who only asks has it shared, for a moment: that keeps nobody out.
            if (!TryLock(file, Shared | WithoutWaiting, path))
                break;
            Thread.Yield();
        }

        file.Dispose();
        return null;
    }

    /// <summary>Whether somebody has the lock. Nothing is made or changed.</summary>
    /// <exception cref="IOException">The file is there and cannot be asked.</exception>
    public static bool IsTaken(string path)
    {
        int descriptor = Open(path, ReadCloseOnExec, 0);
        if (descriptor < 0 && Marshal.GetLastPInvokeError() == NoEntry)
            return false;
        if (descriptor < 0)
            throw new IOException($"{path} cannot be opened: {Why()}");
        using var file = new SafeFileHandle(descriptor, ownsHandle: true);
        return !TryLock(file, Shared | WithoutWaiting, path);
    }

    private static SafeFileHandle OpenOrMake(string path)
    {
        for (int attempt = 0; attempt < AttemptsMax; attempt++)
        {
            // Not a FileStream: it takes a lock of its own that does not wait but fails.
            int descriptor = Open(path, CreateNewCloseOnExec, OwnerOnly);
            if (descriptor >= 0)
                return Made(new SafeFileHandle(descriptor, ownsHandle: true), path);
            if (Marshal.GetLastPInvokeError() != Exists)
                throw new IOException($"{path} cannot be opened: {Why()}");
            if (new FileInfo(path).LinkTarget is not null)
                throw new IOException($"{path} is a link, and a lock is none: look who made it, then remove it");
            descriptor = Open(path, ReadWriteCloseOnExec, 0);
            if (descriptor >= 0)
                return new SafeFileHandle(descriptor, ownsHandle: true);
            // Gone meanwhile: it is made anew.
            if (Marshal.GetLastPInvokeError() != NoEntry)
                throw new IOException($"{path} cannot be opened: {Why()}");
        }

        throw new IOException($"{path} comes and goes");
    }

    // Made by root, it must not keep out the service's user, whose directory this is.
    private static SafeFileHandle Made(SafeFileHandle file, string path)
    {
        try
        {
            AtomicFile.TakeOwnerOf(Path.GetDirectoryName(Path.GetFullPath(path))!, file, path);
            return file;
        }
        catch (IOException)
        {
            file.Dispose();
            throw;
        }
    }

    // False: somebody else has it, and we were not to wait.
    private static bool TryLock(SafeFileHandle file, int operation, string path)
    {
        while (Lock(file, operation) != 0)
        {
            int error = Marshal.GetLastPInvokeError();
            if (error == WouldBlock)
                return false;
            if (error == Interrupted)
                continue;
            file.Dispose();
            throw new IOException($"{path} cannot be locked: {Why()}");
        }

        return true;
    }

    private static string Why() => new Win32Exception(Marshal.GetLastPInvokeError()).Message;

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport("libc", EntryPoint = "flock", SetLastError = true)]
    private static partial int Lock(SafeFileHandle file, int operation);
}
