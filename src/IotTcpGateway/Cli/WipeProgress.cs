namespace IotTcpGateway.Cli;

/// <summary>How far the removing is, on a terminal's standard error; nothing elsewhere.</summary>
internal sealed class WipeProgress(int files) : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(500);
    private const string EraseLine = "\r\e[K";

    private readonly bool isTerminal = !Console.IsErrorRedirected;
    private long shownAt = TimeProvider.System.GetTimestamp();
    private int removed;
    private bool isShown;

    /// <summary>One more is gone.</summary>
    public void Show()
    {
        removed++;
        if (!isTerminal || TimeProvider.System.GetElapsedTime(shownAt) < Interval)
            return;
        shownAt = TimeProvider.System.GetTimestamp();
        isShown = true;
        Console.Error.Write($"{EraseLine}{removed} of {files} files removed");
    }

    public void Dispose()
    {
        if (isShown)
            Console.Error.Write(EraseLine);
        isShown = false;
    }
}
