namespace IotTcpGateway.Time;

/// <summary>So many tokens a second, with bursts of one second. Not safe for several threads.</summary>
internal sealed class TokenBucket(TimeProvider time)
{
    private double tokens = double.NaN;
    private long filledAt;

    /// <summary>Takes a token; if there is none, says how long until there is, in whole ms.</summary>
    public TimeSpan Take(int tokensPerSecond)
    {
        long now = time.GetTimestamp();
        tokens = double.IsNaN(tokens)
            ? tokensPerSecond
            : Math.Min(tokensPerSecond, tokens + (time.GetElapsedTime(filledAt, now).TotalSeconds * tokensPerSecond));
        filledAt = now;
        if (tokens >= 1)
        {
            tokens--;
            return TimeSpan.Zero;
        }

        // Rounded up: timers count whole ms, and a wait of none would spin.
        return TimeSpan.FromMilliseconds(Math.Ceiling((1 - tokens) * 1000 / tokensPerSecond));
    }
}
