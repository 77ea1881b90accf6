using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.Time;
using IotTcpGateway.Tls;

namespace IotTcpGateway.Ingest;

/// <summary>One TLS handshake: a channel, or why there is none.</summary>
internal sealed class TlsHandshake(Socket socket)
{
    // Forward secrecy and authenticated encryption only; all of TLS 1.3 is.
    private static readonly CipherSuitesPolicy Suites = new(
    [
        TlsCipherSuite.TLS_AES_128_GCM_SHA256,
        TlsCipherSuite.TLS_AES_256_GCM_SHA384,
        TlsCipherSuite.TLS_CHACHA20_POLY1305_SHA256,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        TlsCipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        TlsCipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        TlsCipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]);

    private CertificateVerdict verdict = CertificateVerdict.Good;
    private CertificateIdentity? identity;

    /// <summary>Why it failed, and what helps.</summary>
    public string Failure { get; private set; } = "";

    /// <summary>Runs it; null if it failed. Throws what a cancellation throws.</summary>
    /// <param name="material">Certificates in force.</param>
    /// <param name="needsCertificate">Whether the device has to show one.</param>
    /// <param name="clock">By which certificates are judged.</param>
    /// <param name="time">By which certificates are judged.</param>
    /// <param name="stopping">Ends it.</param>
    public async Task<TlsChannel?> RunAsync(
        TlsMaterial material, bool needsCertificate, GatewayClock clock, TimeProvider time, CancellationToken stopping)
    {
        // The socket outlives a failed handshake: the alert is to arrive.
        var stream = new SslStream(new NetworkStream(socket, ownsSocket: false), leaveInnerStreamOpen: true);
        bool isGood = false;
        try
        {
            var options = new SslServerAuthenticationOptions
            {
                ServerCertificateContext = material.Context,
                EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                CipherSuitesPolicy = Suites,
                AllowRenegotiation = false,
                // A resumed session would skip the look at the device's certificate; a device resumes rarely.
                AllowTlsResume = false,
                CertificateRevocationCheckMode = X509RevocationMode.NoCheck,
            };
            if (material.Clients is { } clients)
            {
                options.ClientCertificateRequired = true;
                options.CertificateChainPolicy = clients.Policy.Clone();
                options.RemoteCertificateValidationCallback = (_, certificate, chain, _) =>
                    Judge(clients, certificate is null ? null : chain, needsCertificate, clock, time);
            }

            await stream.AuthenticateAsServerAsync(options, stopping).ConfigureAwait(false);
            isGood = true;
            return new TlsChannel(stream, identity);
        }
        catch (Exception e) when (e is AuthenticationException or IOException or SocketException or CryptographicException)
        {
            Failure = TlsFailure.Explain(verdict, e);
            return null;
        }
        finally
        {
            if (!isGood)
                await stream.DisposeAsync().ConfigureAwait(false);
        }
    }

    private bool Judge(ClientTrust clients, X509Chain? chain, bool needsCertificate, GatewayClock clock, TimeProvider time)
    {
        if (chain is null)
        {
            verdict = needsCertificate ? CertificateVerdict.Missing : CertificateVerdict.Good;
            return !needsCertificate;
        }

        verdict = clients.Judge(chain, time.GetUtcNow(), clock.IsSynchronised, out identity);
        return verdict == CertificateVerdict.Good;
    }
}
