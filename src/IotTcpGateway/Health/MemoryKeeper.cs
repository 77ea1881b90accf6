using System.Globalization;
using System.Runtime.InteropServices;

namespace IotTcpGateway.Health;

/// <summary>
/// Gives memory back that was needed once: after the start, what only the start needed; later, what a rush left behind.
/// A collector on its own keeps it for the next rush, which on a small machine others could have used meanwhile.
/// </summary>
internal sealed partial class MemoryKeeper : IDisposable
{
    // madvise(2), since Linux 5.4: a hint that never discards what was modified. Older kernels answer EINVAL, and
    // everything stays as it was.
    private const int PageOut = 21;
    private const long SpareBytesMax = 6 * 1024 * 1024;
    private static readonly TimeSpan StartedAfter = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan LookInterval = TimeSpan.FromSeconds(15);

    private readonly ITimer timer;
    private bool hasStarted;

    public MemoryKeeper(TimeProvider time) => timer = time.CreateTimer(_ => Look(), null, StartedAfter, LookInterval);

    /// <summary>Puts a cap on the managed heap: the system may have none for the process, and a leak must not take it all.</summary>
    public static void LimitHeap(long bytes)
    {
        AppContext.SetData("GCHeapHardLimit", (ulong)bytes);
        GC.RefreshMemoryLimit();
    }

    /// <inheritdoc/>
    public void Dispose() => timer.Dispose();

    private void Look()
    {
        long spare = GC.GetGCMemoryInfo().TotalCommittedBytes - GC.GetTotalMemory(forceFullCollection: false);
        long dead = GC.GetTotalMemory(forceFullCollection: false) - GC.GetGCMemoryInfo(GCKind.FullBlocking).HeapSizeBytes;
        if (!hasStarted || Math.Max(spare, 0) + Math.Max(dead, 0) > SpareBytesMax)
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        try
        {
            if (!hasStarted)
                PageOutFiles();
            hasStarted = true;
        }
        catch (IOException)
        {
            // No descriptor is free just now: this is a favour to others, and the next look tries again.
        }
    }

    // Code and read-only data that were touched once: what is needed again comes back from the page cache or the file.
    private static void PageOutFiles()
    {
        foreach (string mapping in File.ReadLines("/proc/self/maps"))
        {
            // "from-to rwxp offset device inode path": file mappings that are not writable.
            string[] fields = mapping.Split(' ', 6, StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length < 6 || fields[5][0] != '/' || fields[1].Contains('w'))
                continue;
            string[] range = fields[0].Split('-');
            nuint from = nuint.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            nuint to = nuint.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            _ = Advise(from, to - from, PageOut);
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(nuint start, nuint bytes, int advice);
}
