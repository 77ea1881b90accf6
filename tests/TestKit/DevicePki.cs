using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace IotTcpGateway.TestKit;

/// <summary>
/// Authorities, certificates and revocation lists of one test, by the test's own clock; files lie in a folder that goes with
/// it.
/// </summary>
public sealed class DevicePki : IDisposable
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("iotgw-pki-");
    private readonly DateTimeOffset now;
    private int issued;

    /// <summary>Makes a root and an intermediate below it.</summary>
    public DevicePki(DateTimeOffset now, bool isRsa = false)
    {
        this.now = now;
        Root = Authority("root", null, isRsa);
        Intermediate = Authority("intermediate", Root, isRsa);
    }

    public X509Certificate2 Root { get; }

    public X509Certificate2 Intermediate { get; }

    public string PathOf(string name) => Path.Combine(folder.FullName, name);

    /// <summary>An authority, signed by another or by itself.</summary>
    public X509Certificate2 Authority(string name, X509Certificate2? issuer, bool isRsa = false)
    {
        CertificateRequest request = Request($"CN={name}", isRsa, out AsymmetricAlgorithm key);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(
            new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign | X509KeyUsageFlags.CrlSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        return issuer is null
            ? request.CreateSelfSigned(now.AddYears(-1), now.AddYears(10))
            : Sign(request, issuer, key, now.AddDays(-30), now.AddYears(5));
    }

    /// <summary>A device's or gateway's certificate with its key.</summary>
    public X509Certificate2 Issue(
        string commonName, X509Certificate2? issuer = null, string[]? dns = null, TimeSpan? from = null, TimeSpan? until = null,
        string? purpose = null, bool isRsa = false)
    {
        CertificateRequest request = Request($"CN={commonName}", isRsa, out AsymmetricAlgorithm key);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        if (dns is not null)
        {
            var names = new SubjectAlternativeNameBuilder();
            foreach (string name in dns)
                names.AddDnsName(name);
            request.CertificateExtensions.Add(names.Build());
        }

        if (purpose is not null)
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(purpose)], false));
        return Sign(
            request, issuer ?? Root, key, now + (from ?? TimeSpan.FromDays(-1)), now + (until ?? TimeSpan.FromDays(365)));
    }

    /// <summary>An authority's list of what it has revoked, in DER.</summary>
    public byte[] Crl(X509Certificate2 issuer, IEnumerable<X509Certificate2> revoked, TimeSpan? nextUpdate = null)
    {
        var list = new CertificateRevocationListBuilder();
        foreach (X509Certificate2 one in revoked)
            list.AddEntry(one);
        return list.Build(
            issuer, ++issued, now + (nextUpdate ?? TimeSpan.FromDays(30)), HashAlgorithmName.SHA256,
            RSASignaturePadding.Pkcs1, now.AddDays(-7));
    }

    /// <summary>Writes certificates; returns the file's path.</summary>
    public string Write(string name, params X509Certificate2[] certificates) =>
        WriteText(name, string.Concat(certificates.Select(c => c.ExportCertificatePem() + "\n")));

    public string WriteKey(string name, X509Certificate2 of)
    {
        using AsymmetricAlgorithm key = (AsymmetricAlgorithm?)of.GetECDsaPrivateKey() ?? of.GetRSAPrivateKey()!;
        return WriteText(name, key.ExportPkcs8PrivateKeyPem());
    }

    public string WriteCrls(string name, params byte[][] lists) =>
        WriteText(name, string.Concat(lists.Select(der => PemEncoding.WriteString("X509 CRL", der) + "\n")));

    /// <summary>Replaces a file as a whole, as orderly tools do.</summary>
    public string WriteText(string name, string text)
    {
        File.WriteAllText(PathOf(name + ".new"), text);
        File.Move(PathOf(name + ".new"), PathOf(name), overwrite: true);
        return PathOf(name);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Root.Dispose();
        Intermediate.Dispose();
        folder.Delete(recursive: true);
    }

    private static CertificateRequest Request(string subject, bool isRsa, out AsymmetricAlgorithm key)
    {
        if (isRsa)
        {
            var rsa = RSA.Create(2048);
            key = rsa;
            return new CertificateRequest(subject, rsa, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        }

        var ecdsa = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        key = ecdsa;
        return new CertificateRequest(subject, ecdsa, HashAlgorithmName.SHA256);
    }

    private X509Certificate2 Sign(
        CertificateRequest request, X509Certificate2 issuer, AsymmetricAlgorithm key, DateTimeOffset from, DateTimeOffset until)
    {
        byte[] serial = [1, .. BitConverter.GetBytes(++issued)];
        X509SignatureGenerator signer = issuer.GetECDsaPrivateKey() is { } ecdsa
            ? X509SignatureGenerator.CreateForECDsa(ecdsa)
            : X509SignatureGenerator.CreateForRSA(issuer.GetRSAPrivateKey()!, RSASignaturePadding.Pkcs1);
        using X509Certificate2 certificate = request.Create(issuer.SubjectName, signer, from, until, serial);
        return key is RSA rsa ? certificate.CopyWithPrivateKey(rsa) : certificate.CopyWithPrivateKey((ECDsa)key);
    }
}
