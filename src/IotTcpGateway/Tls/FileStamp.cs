namespace IotTcpGateway.Tls;

/// <summary>What shows that a file changed or was replaced; through links, so that moving one is seen.</summary>
internal readonly record struct FileStamp(DateTime Written, DateTime Made, long Bytes)
{
    /// <summary>Of what the path leads to now; the default if that cannot be told.</summary>
    public static FileStamp Of(string? path)
    {
        if (path is null)
            return default;
        try
        {
            using Microsoft.Win32.SafeHandles.SafeFileHandle file = File.OpenHandle(path, share: FileShare.ReadWrite | FileShare.Delete);
            return new FileStamp(File.GetLastWriteTimeUtc(file), File.GetCreationTimeUtc(file), RandomAccess.GetLength(file));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return default;
        }
    }
}
