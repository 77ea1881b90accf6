using System.Globalization;
using System.Runtime.InteropServices;

namespace IotTcpGateway.Health;

/// <summary>
/// Gives back what only the start needed: garbage of reading the configuration, and the pages of code and read-only data
/// that were touched once. What is needed again comes back from the page cache or the file.
/// </summary>
internal static partial class StartupMemory
{
    // madvise(2), since Linux 5.4: a hint that never discards what was modified. Older kernels answer EINVAL, and
    // everything stays as it was.
    private const int PageOut = 21;

    public static void GiveBack()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
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
