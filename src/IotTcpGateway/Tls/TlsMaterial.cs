using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace IotTcpGateway.Tls;

/// <summary>
/// What handshakes of a listener work with, read from its files as one. Never disposed: handshakes under way use it after
/// newer files came, and sessions none of it.
/// </summary>
internal sealed class TlsMaterial
{
    private TlsMaterial(X509Certificate2 own, SslStreamCertificateContext context, ClientTrust? clients)
    {
        Own = own;
        Context = context;
        Clients = clients;
    }

    /// <summary>The gateway's certificate.</summary>
    public X509Certificate2 Own { get; }

    /// <summary>It with its intermediates, as handshakes send it.</summary>
    public SslStreamCertificateContext Context { get; }

    /// <summary>Null: devices are not asked for certificates.</summary>
    public ClientTrust? Clients { get; }

    public DateTimeOffset NotAfter => Own.NotAfter.ToUniversalTime();

    /// <summary>Reads all files.</summary>
    /// <exception cref="TlsFileException">One of them cannot be used.</exception>
    public static TlsMaterial Read(ListenerTlsOptions options)
    {
        X509Certificate2Collection chain = PemFile.Certificates("certificate", options.Certificate!);
        X509Certificate2 own = WithKey(chain[0], options);
        chain.RemoveAt(0);
        ClientTrust? clients = null;
        if (options.ClientCa is not null)
        {
            X509Certificate2Collection authorities = Authorities(options.ClientCa);
            clients = new ClientTrust(authorities, options.Crl is null ? [] : Lists(options.Crl, authorities));
        }

        try
        {
            // Offline: nothing is fetched to complete the chain; what the file holds is sent.
            return new TlsMaterial(own, SslStreamCertificateContext.Create(own, chain, offline: true), clients);
        }
        catch (CryptographicException e)
        {
            throw new TlsFileException("certificate", options.Certificate!, e.Message, "name the gateway's certificate, then its intermediates");
        }
    }

    private static X509Certificate2 WithKey(X509Certificate2 certificate, ListenerTlsOptions options)
    {
        string file = options.Key!;
        string pem = PemFile.Text("key", file);
        if (pem.Contains("ENCRYPTED", StringComparison.Ordinal))
            throw new TlsFileException("key", file, "the key has a passphrase", "store it without one, readable by the gateway alone");
        try
        {
            return X509Certificate2.CreateFromPem(certificate.ExportCertificatePem(), pem);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw PemFile.HasKey(pem)
                ? new TlsFileException("key", file, $"it does not belong to the certificate in {options.Certificate}", "name the key that the certificate was made for")
                : new TlsFileException("key", file, "there is no private key in PEM in it", "name the certificate's key (BEGIN PRIVATE KEY)");
        }
    }

    private static X509Certificate2Collection Authorities(string file)
    {
        X509Certificate2Collection authorities = PemFile.Certificates("clientCa", file);
        foreach (X509Certificate2 one in authorities)
        {
            if (!one.Extensions.OfType<X509BasicConstraintsExtension>().Any(c => c.CertificateAuthority))
                throw new TlsFileException("clientCa", file, $"\"{one.Subject}\" is not an authority's certificate", "put authorities there, not devices");
        }

        if (!authorities.Any(ClientTrust.IsRoot))
            throw new TlsFileException("clientCa", file, "there is no root in it (an authority that has signed itself)", "add the root above these authorities");
        return authorities;
    }

    private static List<RevocationList> Lists(string file, X509Certificate2Collection authorities)
    {
        List<RevocationList> lists = [];
        foreach (ReadOnlyMemory<byte> der in PemFile.RevocationLists("crl", file))
        {
            try
            {
                lists.Add(RevocationList.Read(der, authorities));
            }
            catch (Exception e) when (e is System.Formats.Asn1.AsnContentException or CryptographicException)
            {
                throw new TlsFileException(
                    "crl",
                    file,
                    e is CryptographicException ? $"list {lists.Count + 1} cannot be taken: {e.Message}" : $"list {lists.Count + 1} is damaged",
                    "fetch it anew from its authority");
            }
        }

        if (lists.Find(list => lists.Exists(other => other != list && other.Issuer.Equals(list.Issuer))) is { } twice)
            throw new TlsFileException("crl", file, $"there are two lists of \"{twice.IssuerName}\"", "keep the newest of each authority");
        return lists;
    }
}
