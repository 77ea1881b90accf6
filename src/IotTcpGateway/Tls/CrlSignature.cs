using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace IotTcpGateway.Tls;

/// <summary>Who has signed a revocation list.</summary>
internal static class CrlSignature
{
    /// <summary>The authority of this name whose key has signed.</summary>
    /// <exception cref="CryptographicException">There is none, or none that may.</exception>
    public static X509Certificate2 SignerOf(
        X500DistinguishedName name, IEnumerable<X509Certificate2> authorities, ReadOnlySpan<byte> signed, string algorithm,
        byte[] signature)
    {
        // RFC 4055 and RFC 5758; SHA-1 vouches for nothing any more.
        (bool isRsa, HashAlgorithmName hash) = algorithm switch
        {
            "1.2.840.113549.1.1.11" => (true, HashAlgorithmName.SHA256),
            "1.2.840.113549.1.1.12" => (true, HashAlgorithmName.SHA384),
            "1.2.840.113549.1.1.13" => (true, HashAlgorithmName.SHA512),
            "1.2.840.10045.4.3.2" => (false, HashAlgorithmName.SHA256),
            "1.2.840.10045.4.3.3" => (false, HashAlgorithmName.SHA384),
            "1.2.840.10045.4.3.4" => (false, HashAlgorithmName.SHA512),
            _ => throw new CryptographicException($"its signature algorithm {algorithm} is not taken (RSA or ECDSA with SHA-2 is)"),
        };
        bool isKnown = false;
        foreach (X509Certificate2 authority in authorities)
        {
            if (!authority.SubjectName.RawData.AsSpan().SequenceEqual(name.RawData))
                continue;
            isKnown = true;
            if (!IsSignedBy(authority, signed, isRsa, hash, signature))
                continue;
            if (authority.Extensions.OfType<X509KeyUsageExtension>().Any(u => !u.KeyUsages.HasFlag(X509KeyUsageFlags.CrlSign)))
                throw new CryptographicException($"\"{name.Name}\" may not sign revocation lists by its own certificate's key usage");
            return authority;
        }

        throw new CryptographicException(
            isKnown ? $"\"{name.Name}\" has not signed it" : $"its issuer \"{name.Name}\" is not among the authorities in clientCa");
    }

    private static bool IsSignedBy(
        X509Certificate2 authority, ReadOnlySpan<byte> signed, bool isRsa, HashAlgorithmName hash, byte[] signature)
    {
        if (isRsa)
        {
            using RSA? rsa = authority.GetRSAPublicKey();
            return rsa?.VerifyData(signed, signature, hash, RSASignaturePadding.Pkcs1) ?? false;
        }

        using ECDsa? ecdsa = authority.GetECDsaPublicKey();
        return ecdsa?.VerifyData(signed, signature, hash, DSASignatureFormat.Rfc3279DerSequence) ?? false;
    }
}
