using IotTcpGateway.Buffer;

namespace IotTcpGateway.Cli;

/// <summary>How far the reading of a journal is, on a terminal's standard error; nothing elsewhere.</summary>
internal sealed class BufferProgress(BufferJournal journal) : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);
    private const string EraseLine = "\r\e[K";

    private readonly bool isTerminal = !Console.IsErrorRedirected;
    private readonly long bytesMax = BytesOf(journal.Path);
    private long shownAt = TimeProvider.System.GetTimestamp();
    private bool isShown;

    public void Show(long bytes)
    {
        if (!isTerminal || TimeProvider.System.GetElapsedTime(shownAt) < Interval)
            return;
        shownAt = TimeProvider.System.GetTimestamp();
        isShown = true;
        Console.Error.Write($"{EraseLine}{journal.Name}: {BufferText.Size(bytes)} of at most {BufferText.Size(bytesMax)}");
    }

    public void Dispose()
    {
        if (isShown)
            Console.Error.Write(EraseLine);
        isShown = false;
    }

    // Of a running gateway a file may go while it is looked at.
    private static long BytesOf(string directory)
    {
        try
        {
            return new DirectoryInfo(directory).EnumerateFiles().Sum(f => f.Exists ? f.Length : 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }
}
