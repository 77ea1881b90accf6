using System.Net;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Ingest;

/// <summary>TLS before HELLO, and who the device is by its certificate.</summary>
internal sealed partial class Session
{
    // Whether the device can be told anything: with TLS only after the handshake.
    private bool isSecured;
    private bool hasFailedTls;

    // What a failed handshake has said is to arrive; a silent close needs no time.
    private bool CanLinger => isSecured || hasFailedTls;

    /// <summary>Ends the session if the files in force no longer cover its certificate.</summary>
    public void EndIfUncovered()
    {
        if (connection.Certificate is { } certificate && listener.Tls?.Current.Clients?.Covers(certificate) != true)
            Stop(SessionEnding.Revoked);
    }

    // Returns why the session ends already; null if it begins.
    private async ValueTask<SessionEnding?> SecureAsync()
    {
        if (listener.Tls is not { } tls)
            return null;
        await connection.WaitToReadAsync(stopping.Token).ConfigureAwait(false);
        if (!connection.HasBytes)
            return SessionEnding.Lost;
        await tls.Pace.WaitAsync(stopping.Token).ConfigureAwait(false);
        // From here on a timeout is the device's.
        hasReceived = true;
        TlsHandshake handshake = connection.BeginTls();
        TlsChannel? channel = null;
        try
        {
            channel = await tls.RunAsync(handshake, stopping.Token).ConfigureAwait(false);
        }
        finally
        {
            context.Metrics.TlsHandshake(channel is not null);
        }

        if (channel is null)
        {
            hasFailedTls = true;
            if (listener.Log.Passes())
                LogTlsFailed(context.Logger, Address, listener.Options.Name, handshake.Failure);
            return SessionEnding.TlsFailed;
        }

        connection.Secure(channel);
        isSecured = true;
        // The files may have changed since the handshake looked at them.
        Interlocked.MemoryBarrier();
        EndIfUncovered();
        return null;
    }

    private Step TakeCertificate()
    {
        if (connection.Certificate?.SpeaksFor(deviceId) != true)
        {
            return End(Unauthenticated(
                connection.Certificate is null
                    ? "it showed no certificate"
                    : "its certificate has another common name, and no such DNS name"));
        }

        IsAuthenticated = true;
        return ComeIn();
    }

    [LoggerMessage(1235, LogLevel.Warning, "{Address} failed its TLS handshake at listener {Listener}: {Why}")]
    private static partial void LogTlsFailed(ILogger logger, IPAddress address, string listener, string why);
}
