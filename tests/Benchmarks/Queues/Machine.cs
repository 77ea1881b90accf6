using System.Globalization;
using System.Runtime.InteropServices;

using Microsoft.Win32.SafeHandles;

namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>What Linux counts, of this process and of the device under a directory.</summary>
internal static partial class Machine
{
    private const int SectorBytes = 512;

    /// <summary>The line of <c>/proc/self/status</c> that begins so, in KiB.</summary>
    public static double Kibibytes(string name) => Number("/proc/self/status", name);

    /// <summary>The line of <c>/proc/self/io</c> that begins so.</summary>
    public static double Io(string name) => Number("/proc/self/io", name);

    /// <summary>The device's line of <c>/proc/diskstats</c>; null where there is none, as in memory.</summary>
    public static string[]? DeviceOf(string directory)
    {
        string path = Path.GetFullPath(directory) + "/";
        string? number = File.ReadLines("/proc/self/mountinfo")
            .Select(line => line.Split(' '))
            .Where(f => path.StartsWith(f[4].TrimEnd('/') + "/", StringComparison.Ordinal))
            .MaxBy(f => f[4].Length)?[2];
        return File.ReadLines("/proc/diskstats")
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .FirstOrDefault(f => $"{f[0]}:{f[1]}" == number);
    }

    /// <summary>Bytes, requests and flushes that reached the device since the machine's start.</summary>
    public static (double Bytes, double Requests, double Flushes) Written(string directory)
    {
        string[]? device = DeviceOf(directory);
        if (device is null)
            return (double.NaN, double.NaN, double.NaN);
        const int flushes = 18;
        return (Parse(device[9]) * SectorBytes, Parse(device[7]),
            device.Length > flushes ? Parse(device[flushes]) : double.NaN);
    }

    /// <summary>Everything that the file system still owes its device.</summary>
    public static void SyncFileSystem(string directory)
    {
        using SafeFileHandle handle = File.OpenHandle(Directory.GetFiles(directory)[0]);
        if (SyncFileSystemOf(handle) != 0)
            throw new IOException($"syncfs: error {Marshal.GetLastPInvokeError()}");
    }

    /// <summary>Asks the system to forget the pages of a directory's files.</summary>
    public static void DropCache(string directory)
    {
        const int dontNeed = 4;
        foreach (string file in Directory.GetFiles(directory))
        {
            using SafeFileHandle handle = File.OpenHandle(file, share: FileShare.ReadWrite);
            int error = Advise(handle, 0, 0, dontNeed);
            if (error != 0)
                throw new IOException($"posix_fadvise: error {error}");
        }
    }

    private static double Number(string file, string name) => Parse(File.ReadLines(file)
        .First(line => line.StartsWith(name + ":", StringComparison.Ordinal))
        .Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1]);

    private static double Parse(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    [LibraryImport("libc", EntryPoint = "syncfs", SetLastError = true)]
    private static partial int SyncFileSystemOf(SafeFileHandle file);

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int Advise(SafeFileHandle file, long offset, long bytes, int advice);
}
