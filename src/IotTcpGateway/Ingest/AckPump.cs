using System.Threading.Channels;

namespace IotTcpGateway.Ingest;

/// <summary>
/// Sends what sessions owe, away from the forwarder's thread: while it is busy with one session, further progress of
/// the others merges into one ACK.
/// </summary>
internal sealed class AckPump
{
    // Each session is queued at most once, so it is bounded by the connections that admission lets in.
    private readonly Channel<SessionOutbox> owing =
        Channel.CreateUnbounded<SessionOutbox>(new UnboundedChannelOptions { SingleReader = true });

    public void Enqueue(SessionOutbox outbox) => owing.Writer.TryWrite(outbox);

    public async Task RunAsync(CancellationToken stopping)
    {
        while (await owing.Reader.WaitToReadAsync(stopping).ConfigureAwait(false))
        {
            while (owing.Reader.TryRead(out SessionOutbox? outbox))
                outbox.SendOwed();
        }
    }
}
