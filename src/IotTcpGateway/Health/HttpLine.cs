using System.IO.Pipelines;
using System.Net;
using System.Net.Security;
using System.Security.Authentication;

using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Health;

/// <summary>
/// What happens to a connection before HTTP: no address may have more than a share of them, and TLS, if it is configured.
/// TLS by hand: Kestrel's own makes the executable larger, and what it adds (HTTP/2, client certificates) is not wanted.
/// </summary>
internal sealed partial class HttpLine(HttpCertificate? certificate, bool isShared, TimeProvider time, ILogger logger)
{
    public const int ConnectionsMax = 64;
    public const int ConnectionsPerAddressMax = 16;

    private static readonly TimeSpan HandshakeLimit = TimeSpan.FromSeconds(5);

    private readonly Lock gate = new();
    private readonly Dictionary<IPAddress, int> connections = [];

    public async Task ServeAsync(ConnectionContext connection, ConnectionDelegate next)
    {
        // On loopback there is one address for all.
        IPAddress? address = isShared ? (connection.RemoteEndPoint as IPEndPoint)?.Address : null;
        if (address is not null && !TryEnter(address))
        {
            connection.Abort(new ConnectionAbortedException("too many connections of this address"));
            return;
        }

        try
        {
            if (certificate is null)
                await next(connection).ConfigureAwait(false);
            else
                await ServeSecureAsync(connection, certificate, next).ConfigureAwait(false);
        }
        finally
        {
            if (address is not null)
                Leave(address);
        }
    }

    private async Task ServeSecureAsync(ConnectionContext connection, HttpCertificate own, ConnectionDelegate next)
    {
        var plain = new PipeStream(connection.Transport);
        var secure = new SslStream(plain, leaveInnerStreamOpen: true);
        await using (secure.ConfigureAwait(false))
        {
            if (!await TryHandshakeAsync(secure, own, connection).ConfigureAwait(false))
                return;
            IDuplexPipe transport = connection.Transport;
            var encrypted = new SecurePipe(secure);
            connection.Transport = encrypted;
            try
            {
                await next(connection).ConfigureAwait(false);
            }
            finally
            {
                connection.Transport = transport;
                await encrypted.Input.CompleteAsync().ConfigureAwait(false);
                await encrypted.Output.CompleteAsync().ConfigureAwait(false);
            }
        }
    }

    private async Task<bool> TryHandshakeAsync(SslStream secure, HttpCertificate own, ConnectionContext connection)
    {
        using var limit = new CancellationTokenSource(HandshakeLimit, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, connection.ConnectionClosed);
        try
        {
            var options = new SslServerAuthenticationOptions
            {
                ServerCertificateContext = own.Current,
                EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                AllowRenegotiation = false,
            };
            await secure.AuthenticateAsServerAsync(options, either.Token).ConfigureAwait(false);
            return true;
        }
        catch (Exception e) when (e is AuthenticationException or IOException or OperationCanceledException)
        {
            // Anybody can do that, as often as he likes.
            LogNoHandshake(logger, connection.RemoteEndPoint, e.GetType().Name);
            connection.Abort(new ConnectionAbortedException("no TLS"));
            return false;
        }
    }

    private bool TryEnter(IPAddress address)
    {
        lock (gate)
        {
            int others = connections.GetValueOrDefault(address);
            if (others < ConnectionsPerAddressMax)
                connections[address] = others + 1;
            return others < ConnectionsPerAddressMax;
        }
    }

    private void Leave(IPAddress address)
    {
        lock (gate)
        {
            if (--connections[address] == 0)
                connections.Remove(address);
        }
    }

    [LoggerMessage(1617, LogLevel.Debug, "no TLS over HTTP's port with {Remote} ({Why})")]
    private static partial void LogNoHandshake(ILogger logger, EndPoint? remote, string why);
}
