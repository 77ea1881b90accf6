using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace IotTcpGateway.Tls;

/// <summary>What stays known of a device's certificate while its session lasts.</summary>
internal sealed class CertificateIdentity
{
    private const int NamesMax = 32;
    private const int NameCharsMax = 64;
    private const string CommonName = "2.5.4.3";

    private readonly string[] names;
    private readonly IssuedCertificate[] chain;

    private CertificateIdentity(string[] names, IssuedCertificate[] chain)
    {
        this.names = names;
        this.chain = chain;
    }

    /// <summary>Who has issued the device's own certificate; with <see cref="Serial"/> what names it for good.</summary>
    public AuthorityId Issuer => chain[0].Issuer;

    /// <summary>Of the device's own certificate.</summary>
    public SerialNumber Serial => chain[0].Serial;

    /// <summary>The authority that vouches for the whole chain.</summary>
    public AuthorityId Anchor => chain[^1].Issuer;

    /// <summary>Each certificate below the anchor by issuer and serial number, the device's own first.</summary>
    public IReadOnlyList<IssuedCertificate> Chain => chain;

    /// <summary>The subject's common name, then the DNS names, those that can be a device id's length.</summary>
    public IReadOnlyList<string> Names => names;

    /// <summary>Whether it lets a device speak as this id; letters count as they are.</summary>
    public bool SpeaksFor(string deviceId) => Array.IndexOf(names, deviceId) >= 0;

    /// <summary>Takes it from a chain that was found good; null if a part of it cannot be read.</summary>
    /// <param name="elements">The device's certificate first, the anchor last.</param>
    public static CertificateIdentity? Of(IReadOnlyList<X509Certificate2> elements)
    {
        try
        {
            var chain = new IssuedCertificate[Math.Max(elements.Count - 1, 1)];
            for (int i = 0; i < chain.Length; i++)
            {
                if (!SerialNumber.TryRead(elements[i].SerialNumberBytes.Span, out SerialNumber serial))
                    return null;
                chain[i] = new IssuedCertificate(AuthorityId.Of(elements[Math.Min(i + 1, elements.Count - 1)]), serial);
            }

            return new CertificateIdentity(
                [.. CommonNames(elements[0]).Concat(DnsNames(elements[0])).Where(n => n.Length is > 0 and <= NameCharsMax).Take(NamesMax)],
                chain);
        }
        catch (Exception e) when (e is CryptographicException or AsnContentException)
        {
            return null;
        }
    }

    // Several common names are nobody's: which of them an authority has looked at is not known.
    private static string[] CommonNames(X509Certificate2 certificate)
    {
        string[] all =
        [
            .. certificate.SubjectName.EnumerateRelativeDistinguishedNames()
                .Where(part => !part.HasMultipleElements && part.GetSingleElementType().Value == CommonName)
                .Select(part => part.GetSingleElementValue() ?? ""),
        ];
        return all.Length == 1 ? all : [];
    }

    private static IEnumerable<string> DnsNames(X509Certificate2 certificate) =>
        certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>().SelectMany(names => names.EnumerateDnsNames());
}
