using IotTcpGateway.TestKit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>Reads from a broker's link with a guard against hanging for ever.</summary>
internal static class Guarded
{
    public static Task<ReceivedPublish> NextAsync(this ScriptedLink link) =>
        link.ReceivePublishAsync().WaitAsync(Rig.HangGuard);

    public static async Task<List<ReceivedPublish>> NextAsync(this ScriptedLink link, int count)
    {
        var received = new List<ReceivedPublish>();
        while (received.Count < count)
            received.Add(await link.NextAsync());
        return received;
    }

    public static async Task ConfirmAsync(this ScriptedLink link, IEnumerable<ReceivedPublish> messages)
    {
        foreach (ReceivedPublish message in messages)
        {
            await link.PubAckAsync(message);
        }
    }

    public static Task EndAsync(this ScriptedLink link) => link.WaitForEndAsync().WaitAsync(Rig.HangGuard);

    /// <summary>The sequence that a JSON message tells.</summary>
    public static uint Sequence(this ReceivedPublish message) =>
        System.Text.Json.JsonDocument.Parse(message.Payload).RootElement.GetProperty("seq").GetUInt32();
}

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
