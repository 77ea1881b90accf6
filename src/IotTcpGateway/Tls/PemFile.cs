using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace IotTcpGateway.Tls;

/// <summary>Certificates, keys and revocation lists in files of a bounded size.</summary>
internal static class PemFile
{
    /// <summary>Of certificates and keys.</summary>
    public const int BytesMax = 256 * 1024;

    /// <summary>Of revocation lists: some 50 000 certificates.</summary>
    public const int CrlBytesMax = 2 * 1024 * 1024;

    private const string CrlLabel = "X509 CRL";
    private const byte DerSequence = 0x30;

    /// <summary>The certificates of a file, of which there is at least one.</summary>
    public static X509Certificate2Collection Certificates(string key, string file)
    {
        var certificates = new X509Certificate2Collection();
        try
        {
            certificates.ImportFromPem(Text(key, file));
        }
        catch (CryptographicException)
        {
            throw new TlsFileException(key, file, "a certificate in it is damaged", "store it anew, in PEM");
        }

        if (certificates.Count == 0)
            throw new TlsFileException(key, file, "there is no certificate in PEM in it", "name a file with BEGIN CERTIFICATE");
        return certificates;
    }

    public static string Text(string key, string file) => Encoding.ASCII.GetString(Bytes(key, file, BytesMax));

    public static bool HasKey(string pem) => pem.Contains("PRIVATE KEY-----", StringComparison.Ordinal);

    /// <summary>The lists of a file, of which there is at least one, as DER.</summary>
    public static List<ReadOnlyMemory<byte>> RevocationLists(string key, string file)
    {
        byte[] bytes = Bytes(key, file, CrlBytesMax);
        if (bytes.Length > 0 && bytes[0] == DerSequence)
            return [bytes];
        List<ReadOnlyMemory<byte>> lists = [];
        ReadOnlySpan<byte> rest = bytes;
        while (PemEncoding.TryFindUtf8(rest, out PemFields fields))
        {
            if (Encoding.ASCII.GetString(rest[fields.Label]) == CrlLabel)
            {
                byte[] der = new byte[fields.DecodedDataLength];
                System.Buffers.Text.Base64.DecodeFromUtf8(rest[fields.Base64Data], der, out _, out _);
                lists.Add(der);
            }

            rest = rest[fields.Location.End..];
        }

        if (lists.Count == 0)
            throw new TlsFileException(key, file, "there is no revocation list in it", "name a file with BEGIN X509 CRL, or one list in DER");
        return lists;
    }

    private static byte[] Bytes(string key, string file, int bytesMax)
    {
        try
        {
            using FileStream stream = File.OpenRead(file);
            if (stream.Length > bytesMax)
                throw new TlsFileException(key, file, $"it is larger than {bytesMax >> 10} KiB", "name a smaller one");
            byte[] bytes = new byte[stream.Length];
            stream.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new TlsFileException(key, file, "it does not exist", "name a file that this user may read");
        }
        catch (Exception e) when (e is (IOException or UnauthorizedAccessException) and not TlsFileException)
        {
            throw new TlsFileException(key, file, $"it cannot be read ({e.Message})", "name a file that this user may read");
        }
    }
}
