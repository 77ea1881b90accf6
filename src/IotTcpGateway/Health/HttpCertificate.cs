using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Health;

/// <summary>The certificate of HTTP, read again when its files change; what cannot be used leaves the old one in force.</summary>
internal sealed partial class HttpCertificate(string certificateFile, string keyFile, ILogger logger)
{
    private const int FileBytesMax = 1 << 20;

    private byte[] seen = [];
    private string problemOfSeen = "";
    private string lastProblem = "";
    private SslStreamCertificateContext? current;

    /// <summary>What handshakes use now.</summary>
    public SslStreamCertificateContext Current => Volatile.Read(ref current)
        ?? throw new InvalidOperationException("the certificate was not read yet");

    /// <summary>Reads it for the first time.</summary>
    /// <exception cref="IOException">It cannot be used; the message says what to do.</exception>
    public void Start()
    {
        if (Problem() is { Length: > 0 } problem)
        {
            throw new IOException(
                $"http.tls {certificateFile}, {keyFile}: {problem}; give a certificate and its key in PEM");
        }
    }

    /// <summary>Reads the files again if they have changed.</summary>
    public void Refresh()
    {
        string problem = Problem();
        if (problem.Length > 0 && problem != lastProblem)
            LogUnusable(logger, certificateFile, problem);
        lastProblem = problem;
    }

    private string Problem()
    {
        try
        {
            byte[] certificate = Read(certificateFile);
            byte[] key = Read(keyFile);
            byte[] digest = SHA256.HashData([.. SHA256.HashData(certificate), .. SHA256.HashData(key)]);
            // Halves of a change that is under way do not fit together; the next look sees the whole of it.
            if (!digest.AsSpan().SequenceEqual(seen))
            {
                problemOfSeen = Take(Encoding.ASCII.GetString(certificate), Encoding.ASCII.GetString(key));
                seen = digest;
            }

            CryptographicOperations.ZeroMemory(key);
            return problemOfSeen;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    private string Take(string certificatePem, string keyPem)
    {
        try
        {
            bool isFirst = current is null;
            X509Certificate2 own = X509Certificate2.CreateFromPem(certificatePem, keyPem);
            var chain = new X509Certificate2Collection();
            // Intermediates stand behind the first certificate.
            chain.ImportFromPem(certificatePem);
            Volatile.Write(ref current, SslStreamCertificateContext.Create(own, chain, offline: true));
            if (!isFirst)
                LogTaken(logger, certificateFile, own.NotAfter);
            return "";
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            return e.Message;
        }
    }

    private static byte[] Read(string file)
    {
        if (new FileInfo(file).Length > FileBytesMax)
            throw new IOException($"{file} is no certificate or key: it has more than {FileBytesMax} bytes");
        return File.ReadAllBytes(file);
    }

    [LoggerMessage(1615, LogLevel.Information, "the certificate of HTTP is read anew from {Path}: good until {NotAfter:u}")]
    private static partial void LogTaken(ILogger logger, string path, DateTime notAfter);

    [LoggerMessage(1616, LogLevel.Error,
        "the changed certificate of HTTP {Path} cannot be used, the old one stays in force: {Why}")]
    private static partial void LogUnusable(ILogger logger, string path, string why);
}
