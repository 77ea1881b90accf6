namespace IotTcpGateway.Forward;

/// <summary>
/// While another broker is in use, looks at the first one of the list now and then, and gives up the link when that has
/// been well for a while. The link is lost on purpose, not ended: so the other broker publishes the will, and nobody
/// there takes the gateway for online; what is unconfirmed goes again.
/// </summary>
internal sealed class PreferredBroker(BrokerConnector preferred, TimeProvider time)
{
    public const int GoodProbesNeeded = 3;
    public static readonly TimeSpan ProbeInterval = TimeSpan.FromMinutes(1);

    /// <summary>Completes when it has been well for so many probes in a row; false when told to end.</summary>
    public async Task<bool> IsWellAsync(CancellationToken linkEnded)
    {
        try
        {
            for (int good = 0; good < GoodProbesNeeded;)
            {
                await Task.Delay(ProbeInterval, time, linkEnded).ConfigureAwait(false);
                good = await preferred.AnswersAsync(linkEnded).ConfigureAwait(false) ? good + 1 : 0;
            }

            return !linkEnded.IsCancellationRequested;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }
}
