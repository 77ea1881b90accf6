using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

using MQTTnet.Channel;

namespace IotTcpGateway.Forward;

/// <summary>Connects to a broker by TCP or TLS, for the MQTT client.</summary>
internal sealed class LinkStreamProvider(BrokerAddress broker, MqttTlsOptions tls, long inboundPacketBytesMax)
    : IMqttClientStreamProvider
{
    /// <summary>Whether the TCP (and TLS) connection came about; what fails later is the broker's word.</summary>
    public bool HasConnected { get; private set; }

    /// <inheritdoc/>
    public async Task<Stream> ConnectAsync(EndPoint brokerEndPoint, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        Stream? stream = null;
        try
        {
            await socket.ConnectAsync(broker.EndPoint, cancellationToken).ConfigureAwait(false);
            stream = new NetworkStream(socket, ownsSocket: true);
            if (broker.IsTls)
                stream = await AuthenticateAsync(stream, cancellationToken).ConfigureAwait(false);
            HasConnected = true;
            return new LinkStream(stream, inboundPacketBytesMax);
        }
        catch
        {
            if (stream is not null)
                await stream.DisposeAsync().ConfigureAwait(false);
            socket.Dispose();
            throw;
        }
    }

    private async Task<Stream> AuthenticateAsync(Stream stream, CancellationToken cancellationToken)
    {
        var options = new SslClientAuthenticationOptions
        {
            TargetHost = broker.Host,
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        if (tls.Ca is not null)
        {
            options.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
            };
            options.CertificateChainPolicy.CustomTrustStore.ImportFromPemFile(tls.Ca);
        }

        if (tls.Certificate is not null)
        {
            options.ClientCertificateContext = SslStreamCertificateContext.Create(
                X509Certificate2.CreateFromPemFile(tls.Certificate, tls.Key), additionalCertificates: null, offline: true);
        }

        var secure = new SslStream(stream);
        await secure.AuthenticateAsClientAsync(options, cancellationToken).ConfigureAwait(false);
        return secure;
    }

    /// <summary>Whether the exception is a failure to connect that a later attempt may not see; else it is a defect.</summary>
    public static bool IsLinkFailure(Exception e) =>
        e is SocketException or IOException or AuthenticationException or CryptographicException
            or OperationCanceledException or TimeoutException or UnauthorizedAccessException
            or MQTTnet.Exceptions.MqttCommunicationException or MQTTnet.Exceptions.MqttProtocolViolationException
            or ObjectDisposedException or InvalidOperationException;
}
