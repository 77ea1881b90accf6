using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace IotTcpGateway.TestKit;

/// <summary>Files in PEM of a certificate and its key.</summary>
public sealed record CertificateFiles(string Certificate, string Key);

/// <summary>A certificate authority of one test; all its files lie in a folder that goes with it.</summary>
public sealed class TestAuthority : IDisposable
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("iotgw-ca-");
    private readonly X509Certificate2 root;
    private int issued;

    public TestAuthority(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        request.CertificateExtensions.Add(new X509SubjectKeyIdentifierExtension(request.PublicKey, false));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        root = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(30));
        File.WriteAllText(CaFile, root.ExportCertificatePem());
    }

    /// <summary>The authority's own certificate.</summary>
    public string CaFile => Path.Combine(folder.FullName, "ca.pem");

    /// <summary>Signs a certificate for loopback that serves both ends of a connection.</summary>
    public CertificateFiles Issue(string commonName)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={commonName}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, true));
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        int number = ++issued;
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        using X509Certificate2 certificate =
            request.Create(root, now.AddHours(-1), now.AddDays(7), BitConverter.GetBytes(number));
        var files = new CertificateFiles(
            Path.Combine(folder.FullName, $"{number}.pem"), Path.Combine(folder.FullName, $"{number}.key"));
        File.WriteAllText(files.Certificate, certificate.ExportCertificatePem());
        File.WriteAllText(files.Key, key.ExportPkcs8PrivateKeyPem());
        return files;
    }

    public void Dispose()
    {
        root.Dispose();
        folder.Delete(recursive: true);
    }
}
