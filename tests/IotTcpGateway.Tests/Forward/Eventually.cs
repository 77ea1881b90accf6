namespace IotTcpGateway.Tests.Forward;

/// <summary>Waits for what other threads bring about where nothing can be awaited.</summary>
internal static class Eventually
{
    public static async Task IsTrueAsync(Func<bool> condition)
    {
        using var guard = new CancellationTokenSource(Rig.HangGuard);
        while (!condition())
        {
            guard.Token.ThrowIfCancellationRequested();
            await Task.Yield();
        }
    }
}
