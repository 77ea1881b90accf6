using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace IotTcpGateway.Tls;

/// <summary>
/// An authority by its name and key, so that one whose certificate is renewed stays the same: SHA-256 over both.
/// </summary>
internal readonly record struct AuthorityId(UInt128 High, UInt128 Low)
{
    public static AuthorityId Of(X509Certificate2 authority)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(authority.SubjectName.RawData);
        hash.AppendData(authority.PublicKey.ExportSubjectPublicKeyInfo());
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        hash.GetHashAndReset(digest);
        return new AuthorityId(
            BinaryPrimitives.ReadUInt128BigEndian(digest),
            BinaryPrimitives.ReadUInt128BigEndian(digest[16..]));
    }
}
