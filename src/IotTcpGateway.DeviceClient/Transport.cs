using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace IotTcpGateway.DeviceClient;

/// <summary>A connected socket, with TLS around it or not.</summary>
internal sealed class Transport : IDisposable
{
    private readonly Socket socket;

    private Transport(Socket socket, Stream stream)
    {
        this.socket = socket;
        Stream = stream;
    }

    public Stream Stream { get; }

    /// <summary>Throws what sockets and TLS throw; the socket is closed then.</summary>
    public static async Task<Transport> ConnectAsync(
        string host, int port, TlsIdentity? tls, CancellationToken cancellation)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            // Frames are put together before they are sent: waiting for more would only delay them.
            socket.NoDelay = true;
            await socket.ConnectAsync(host, port, cancellation).ConfigureAwait(false);
            Stream stream = new NetworkStream(socket, ownsSocket: true);
            if (tls is not null)
                stream = await tls.AuthenticateAsync(stream, cancellation).ConfigureAwait(false);
            return new Transport(socket, stream);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Tells the other side that nothing more comes.</summary>
    public async Task EndSendingAsync()
    {
        if (Stream is SslStream tls)
            await tls.ShutdownAsync().ConfigureAwait(false);
        socket.Shutdown(SocketShutdown.Send);
    }

    /// <summary>Breaks the connection; reads and writes under way fail.</summary>
    public void Cut() => socket.Dispose();

    public void Dispose() => Stream.Dispose();
}

/// <summary>Whom the device trusts, and who it is, in TLS.</summary>
internal sealed class TlsIdentity : IDisposable
{
    private readonly string serverName;
    private readonly X509Certificate2Collection? authorities;
    private readonly X509Certificate2Collection own = [];
    private readonly SslStreamCertificateContext? certificate;

    /// <summary>Reads the files; throws what reading them throws.</summary>
    public TlsIdentity(DeviceTlsOptions options, string host)
    {
        serverName = options.ServerName ?? host;
        if (options.CaFile is not null)
        {
            authorities = [];
            authorities.ImportFromPemFile(options.CaFile);
            if (authorities.Count == 0)
                throw new ArgumentException($"no certificate in {options.CaFile}");
        }

        if (options.CertificateFile is null)
            return;
        own.ImportFromPemFile(options.CertificateFile);
        var leaf = X509Certificate2.CreateFromPemFile(options.CertificateFile, options.KeyFile);
        own.Insert(0, leaf);
        certificate = SslStreamCertificateContext.Create(leaf, own, offline: true);
    }

    public async Task<Stream> AuthenticateAsync(Stream inner, CancellationToken cancellation)
    {
        var tls = new SslStream(inner);
        try
        {
            var options = new SslClientAuthenticationOptions
            {
                TargetHost = serverName,
                EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
                ClientCertificateContext = certificate,
                CertificateChainPolicy = ChainPolicy(),
            };
            await tls.AuthenticateAsClientAsync(options, cancellation).ConfigureAwait(false);
            return tls;
        }
        catch
        {
            await tls.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    public void Dispose()
    {
        foreach (X509Certificate2 one in own)
            one.Dispose();
        foreach (X509Certificate2 one in authorities ?? [])
            one.Dispose();
    }

    private X509ChainPolicy? ChainPolicy()
    {
        if (authorities is null)
            return null;
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            // An authority of one's own has, as a rule, no server that tells what it revoked.
            RevocationMode = X509RevocationMode.NoCheck,
        };
        policy.CustomTrustStore.AddRange(authorities);
        return policy;
    }
}
