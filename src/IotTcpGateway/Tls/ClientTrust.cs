using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace IotTcpGateway.Tls;

/// <summary>What was found of a device's certificate.</summary>
internal enum CertificateVerdict
{
    Good,
    Missing,
    UnknownAuthority,
    Expired,
    NotYetValid,
    Revoked,
    WrongPurpose,
    Invalid,
}

/// <summary>
/// Whose certificates devices may come with: the authorities, and what these have revoked. Nothing is ever downloaded.
/// </summary>
internal sealed class ClientTrust
{
    // A device, three intermediates, a root.
    private const int ChainMax = 5;
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";
    private const X509ChainStatusFlags Unknown =
        X509ChainStatusFlags.UntrustedRoot | X509ChainStatusFlags.PartialChain | X509ChainStatusFlags.ExplicitDistrust
        // An authority of the same name and another key.
        | X509ChainStatusFlags.NotSignatureValid;

    private readonly HashSet<AuthorityId> anchors;
    private readonly Dictionary<AuthorityId, RevocationList> revoked;

    public ClientTrust(X509Certificate2Collection authorities, IReadOnlyList<RevocationList> lists)
    {
        Lists = lists;
        revoked = lists.ToDictionary(list => list.Issuer);
        Policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
            // Looked at in Judge, by the gateway's clock and what is known of it.
            VerificationFlags = X509VerificationFlags.IgnoreNotTimeValid,
        };
        Policy.ApplicationPolicy.Add(new Oid(ClientAuthentication));
        foreach (X509Certificate2 authority in authorities)
            (IsRoot(authority) ? Policy.CustomTrustStore : Policy.ExtraStore).Add(authority);
        anchors = [.. Policy.CustomTrustStore.Select(AuthorityId.Of)];
    }

    /// <summary>How a chain is to be built; copied by whoever uses it.</summary>
    public X509ChainPolicy Policy { get; }

    public IReadOnlyList<RevocationList> Lists { get; }

    /// <summary>Whether a certificate ends chains: an authority that has issued itself.</summary>
    public static bool IsRoot(X509Certificate2 certificate) =>
        certificate.SubjectName.RawData.AsSpan().SequenceEqual(certificate.IssuerName.RawData);

    /// <summary>Judges a chain that was built by <see cref="Policy"/>; gives the identity if it is good.</summary>
    /// <param name="chain">Built.</param>
    /// <param name="now">By the gateway's clock.</param>
    /// <param name="isSynchronised">
    /// Whether that clock was set since the host started; else it can only be behind, so that no certificate is too young.
    /// </param>
    /// <param name="identity">Null unless good.</param>
    public CertificateVerdict Judge(
        X509Chain chain, DateTimeOffset now, bool isSynchronised, out CertificateIdentity? identity)
    {
        identity = null;
        X509ChainStatusFlags status = chain.ChainStatus.Aggregate(
            X509ChainStatusFlags.NoError, (all, one) => all | one.Status) & ~X509ChainStatusFlags.NotTimeValid;
        if ((status & Unknown) != 0)
            return CertificateVerdict.UnknownAuthority;
        if ((status & X509ChainStatusFlags.NotValidForUsage) != 0)
            return CertificateVerdict.WrongPurpose;
        X509Certificate2[] elements = [.. chain.ChainElements.Select(e => e.Certificate)];
        if (status != X509ChainStatusFlags.NoError || elements.Length is 0 or > ChainMax)
            return CertificateVerdict.Invalid;
        if (elements.Any(e => now > e.NotAfter.ToUniversalTime()))
            return CertificateVerdict.Expired;
        if (isSynchronised && elements.Any(e => now < e.NotBefore.ToUniversalTime()))
            return CertificateVerdict.NotYetValid;
        if (CertificateIdentity.Of(elements) is not { } found)
            return CertificateVerdict.Invalid;
        if (!anchors.Contains(found.Anchor))
            return CertificateVerdict.UnknownAuthority;
        if (IsRevoked(found))
            return CertificateVerdict.Revoked;
        identity = found;
        return CertificateVerdict.Good;
    }

    /// <summary>Whether a session that came in by this certificate may go on.</summary>
    public bool Covers(CertificateIdentity identity) => anchors.Contains(identity.Anchor) && !IsRevoked(identity);

    private bool IsRevoked(CertificateIdentity identity) =>
        identity.Chain.Any(one => revoked.TryGetValue(one.Issuer, out RevocationList? list) && list.Contains(one.Serial));
}
