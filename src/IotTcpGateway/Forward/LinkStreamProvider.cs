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
        Stream network = Stream.Null;
        try
        {
            await socket.ConnectAsync(broker.EndPoint, cancellationToken).ConfigureAwait(false);
            network = new NetworkStream(socket, ownsSocket: true);
            if (broker.IsTls)
            {
                var secure = new SslStream(network);
                network = secure;
                await AuthenticateAsync(secure, cancellationToken).ConfigureAwait(false);
            }
        }
        catch
        {
            await network.DisposeAsync().ConfigureAwait(false);
            socket.Dispose();
            throw;
        }

        HasConnected = true;
        return new LinkStream(network, inboundPacketBytesMax);
    }

    private async Task AuthenticateAsync(SslStream secure, CancellationToken cancellationToken)
    {
        var options = new SslClientAuthenticationOptions
        {
            // Checked against the certificate's names: no callback of ours stands in between.
            TargetHost = broker.Host,
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
        };
        if (tls.Ca is not null)
            options.CertificateChainPolicy = TrustOnly(tls.Ca);
        if (tls.Certificate is not null)
            options.ClientCertificateContext = OwnCertificate(tls.Certificate, tls.Key);
        await secure.AuthenticateAsClientAsync(options, cancellationToken).ConfigureAwait(false);
    }

    private static X509ChainPolicy TrustOnly(string caFile)
    {
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
        };
        Load("mqtt.tls.ca", caFile, () => policy.CustomTrustStore.ImportFromPemFile(caFile));
        if (policy.CustomTrustStore.Count == 0)
            throw new LinkFileException("mqtt.tls.ca", caFile, "there is no certificate in it");
        return policy;
    }

    private static SslStreamCertificateContext OwnCertificate(string file, string? keyFile)
    {
        X509Certificate2? own = null;
        var chain = new X509Certificate2Collection();
        Load("mqtt.tls.certificate", file, () =>
        {
            own = X509Certificate2.CreateFromPemFile(file, keyFile);
            // Intermediates stand behind the first certificate.
            chain.ImportFromPemFile(file);
        });
        return SslStreamCertificateContext.Create(own!, chain, offline: true);
    }

    private static void Load(string key, string file, Action load)
    {
        try
        {
            load();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CryptographicException)
        {
            throw new LinkFileException(key, file, e.Message);
        }
    }

    /// <summary>
    /// Whether the exception is a failure to connect that a later attempt may not see; else it is a defect.
    /// </summary>
    public static bool IsLinkFailure(Exception e) =>
        e is SocketException or IOException or AuthenticationException or OperationCanceledException
            or MQTTnet.Exceptions.MqttCommunicationException or MQTTnet.Exceptions.MqttProtocolViolationException;
}

/// <summary>A file that the link needs cannot be used now; it is read again at the next attempt.</summary>
internal sealed class LinkFileException(string key, string file, string why) : IOException($"{key} {file}: {why}");
