using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace IotTcpGateway.Tls;

/// <summary>
/// An authority by its name and key, so that one whose certificate is renewed stays the same: SHA-256 over both.
/// </summary>
internal sealed class AuthorityId : IEquatable<AuthorityId>
{
    private readonly byte[] digest;

    private AuthorityId(byte[] digest) => this.digest = digest;

    public static AuthorityId Of(X509Certificate2 authority)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(authority.SubjectName.RawData);
        hash.AppendData(authority.PublicKey.ExportSubjectPublicKeyInfo());
        return new AuthorityId(hash.GetHashAndReset());
    }

    /// <inheritdoc/>
    public bool Equals(AuthorityId? other) => other is not null && digest.AsSpan().SequenceEqual(other.digest);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as AuthorityId);

    /// <inheritdoc/>
    public override int GetHashCode() => BitConverter.ToInt32(digest);
}

/// <summary>A certificate as revocation lists name it.</summary>
internal sealed class IssuedCertificate(AuthorityId issuer, SerialNumber serial)
{
    public AuthorityId Issuer { get; } = issuer;

    public SerialNumber Serial { get; } = serial;
}
