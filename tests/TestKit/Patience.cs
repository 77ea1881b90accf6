using System.Diagnostics;

namespace IotTcpGateway.TestKit;

/// <summary>Waits for what other processes bring about; its limit only guards against hanging for ever.</summary>
public static class Patience
{
    public static readonly TimeSpan HangGuard = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(5);

    /// <summary>Returns when the condition holds; throws with what was the case instead.</summary>
    public static async Task UntilAsync(Func<bool> condition, Func<string> otherwise, TimeSpan? limit = null)
    {
        long since = Stopwatch.GetTimestamp();
        while (!condition())
        {
            if (Stopwatch.GetElapsedTime(since) > (limit ?? HangGuard))
                throw new TimeoutException(otherwise());
            await Task.Delay(Look);
        }
    }
}
