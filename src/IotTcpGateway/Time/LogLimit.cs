namespace IotTcpGateway.Time;

/// <summary>Lets ten events a minute into the log; what anybody on the network can provoke must not fill it.</summary>
internal sealed class LogLimit(TimeProvider time)
{
    private const int PerMinute = 10;
    private readonly Lock gate = new();
    private long since = time.GetTimestamp();
    private int seen;

    public bool Passes()
    {
        lock (gate)
        {
            if (time.GetElapsedTime(since) > TimeSpan.FromMinutes(1))
            {
                since = time.GetTimestamp();
                seen = 0;
            }

            return ++seen <= PerMinute;
        }
    }
}
