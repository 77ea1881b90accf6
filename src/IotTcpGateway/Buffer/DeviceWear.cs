using System.Globalization;

namespace IotTcpGateway.Buffer;

/// <summary>
/// Bytes that this process caused to be written to devices, as the kernel counts them: proc_pid_io(5).
/// </summary>
internal sealed class DeviceWear(TimeProvider time)
{
    private const string KernelFile = "/proc/self/io";
    private const string Key = "write_bytes: ";

    private readonly long? before = Read();
    private readonly long since = time.GetTimestamp();

    /// <summary>Since this was made; null if the kernel does not tell.</summary>
    public long? Bytes => Read() - before;

    public long? BytesPerDay => time.GetElapsedTime(since).TotalDays is var days && days > 0 && Bytes is { } bytes
        ? (long)(bytes / days)
        : null;

    private static long? Read()
    {
        try
        {
            string? line = Array.Find(
                File.ReadAllLines(KernelFile), l => l.StartsWith(Key, StringComparison.Ordinal));
            return line is null ? null : long.Parse(line.AsSpan(Key.Length), CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
