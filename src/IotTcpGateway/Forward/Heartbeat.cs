using MQTTnet;

namespace IotTcpGateway.Forward;

/// <summary>
/// Pings the broker, whatever else is sent: MQTTnet pings only when nothing was, and a line that takes bytes and brings
/// none would go unnoticed. For the session's loop alone.
/// </summary>
internal sealed class Heartbeat(
    IMqttClient client, TimeProvider time, Signal signal, LinkLoss loss, TimeSpan interval, TimeSpan answerTimeout)
{
    private long beatAt = time.GetTimestamp();
    private Task beat = Task.CompletedTask;

    private bool IsOutstanding => !beat.IsCompleted;

    /// <summary>Pings if it is time, and ends the link if the last ping was not answered.</summary>
    /// <param name="heardAt">When the broker last answered anything: a ping waits behind all that was sent before
    /// it.</param>
    /// <param name="linkEnded">Ends the wait for an answer.</param>
    public void Beat(long heardAt, CancellationToken linkEnded)
    {
        if (UntilDue(heardAt) is not { } left || left > TimeSpan.Zero)
            return;
        if (IsOutstanding)
        {
            loss.Set(LinkEvent.Overdue, $"no PINGRESP for {answerTimeout.TotalSeconds:0.#} s");
            return;
        }

        beatAt = time.GetTimestamp();
        beat = PingAsync(linkEnded);
    }

    /// <summary>Time until there is something to do; null for never.</summary>
    public TimeSpan? UntilDue(long heardAt)
    {
        if (IsOutstanding)
            return answerTimeout - time.GetElapsedTime(Math.Max(beatAt, heardAt));
        return interval == Timeout.InfiniteTimeSpan ? null : interval - time.GetElapsedTime(beatAt);
    }

    /// <summary>Completes when the last ping came to its end, one way or the other.</summary>
    public Task WhenQuiet() => beat;

    // With a token the client sets no time limit of its own.
    private async Task PingAsync(CancellationToken linkEnded)
    {
        try
        {
            await client.PingAsync(linkEnded).ConfigureAwait(false);
            signal.Set();
        }
        catch (Exception e)
        {
            // Of any type, as with publishing (see Outbox).
            loss.Set(e);
        }
    }
}
