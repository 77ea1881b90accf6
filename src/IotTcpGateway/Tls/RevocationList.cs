using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace IotTcpGateway.Tls;

/// <summary>
/// What one authority has revoked: a CRL (RFC 5280, section 5), complete and signed. 24 bytes a certificate.
/// </summary>
internal sealed class RevocationList
{
    private const string Version2 = "01";
    private const string CrlNumber = "2.5.29.20";
    private const string AuthorityKeyIdentifier = "2.5.29.35";

    private readonly SerialNumber[] serials;

    private RevocationList(AuthorityId issuer, string issuerName, DateTimeOffset? nextUpdate, SerialNumber[] serials)
    {
        Issuer = issuer;
        IssuerName = issuerName;
        NextUpdate = nextUpdate;
        this.serials = serials;
    }

    public AuthorityId Issuer { get; }

    public string IssuerName { get; }

    /// <summary>When a newer one should have come; null if it does not say.</summary>
    public DateTimeOffset? NextUpdate { get; }

    public int Count => serials.Length;

    public bool Contains(SerialNumber serial) => Array.BinarySearch(serials, serial) >= 0;

    /// <summary>Reads DER and checks its signature.</summary>
    /// <exception cref="AsnContentException">It is damaged.</exception>
    /// <exception cref="CryptographicException">No authority given has signed it, or it is of a kind not understood.</exception>
    public static RevocationList Read(ReadOnlyMemory<byte> der, IEnumerable<X509Certificate2> authorities)
    {
        var outer = new AsnReader(der, AsnEncodingRules.DER);
        AsnReader list = outer.ReadSequence();
        outer.ThrowIfNotEmpty();
        ReadOnlyMemory<byte> signed = list.ReadEncodedValue();
        string algorithm = ReadAlgorithm(list);
        byte[] signature = list.ReadBitString(out int unusedBits);
        list.ThrowIfNotEmpty();
        if (unusedBits != 0)
            throw new CryptographicException("its signature is not whole bytes");

        AsnReader body = new AsnReader(signed, AsnEncodingRules.DER).ReadSequence();
        if (body.PeekTag().HasSameClassAndValue(Asn1Tag.Integer) && Convert.ToHexString(body.ReadIntegerBytes().Span) != Version2)
            throw new CryptographicException("its version is not 2");
        if (ReadAlgorithm(body) != algorithm)
            throw new CryptographicException("it names two signature algorithms");
        var issuerName = new X500DistinguishedName(body.ReadEncodedValue().Span);
        X509Certificate2 issuer = CrlSignature.SignerOf(issuerName, authorities, signed.Span, algorithm, signature);
        return ReadBody(body, issuer);
    }

    private static RevocationList ReadBody(AsnReader body, X509Certificate2 issuer)
    {
        ReadTime(body);
        DateTimeOffset? nextUpdate = IsTime(body) ? ReadTime(body) : null;
        SerialNumber[] serials =
            body.HasData && body.PeekTag().HasSameClassAndValue(Asn1Tag.Sequence) ? ReadEntries(body.ReadSequence()) : [];
        if (body.HasData)
        {
            AsnReader wrapped = body.ReadSequence(new Asn1Tag(TagClass.ContextSpecific, 0));
            ReadExtensions(wrapped.ReadSequence(), [CrlNumber, AuthorityKeyIdentifier]);
            wrapped.ThrowIfNotEmpty();
        }

        body.ThrowIfNotEmpty();
        Array.Sort(serials);
        return new RevocationList(AuthorityId.Of(issuer), issuer.Subject, nextUpdate, serials);
    }

    private static SerialNumber[] ReadEntries(AsnReader entries)
    {
        List<SerialNumber> serials = [];
        while (entries.HasData)
        {
            AsnReader entry = entries.ReadSequence();
            if (!SerialNumber.TryRead(entry.ReadIntegerBytes().Span, out SerialNumber serial))
                throw new CryptographicException("a serial number in it is longer than 20 bytes");
            ReadTime(entry);
            if (entry.HasData)
                ReadExtensions(entry.ReadSequence(), []);
            entry.ThrowIfNotEmpty();
            serials.Add(serial);
        }

        return [.. serials];
    }

    // A critical extension that is not understood forbids to conclude anything from the list (RFC 5280, 5.2): it may be a
    // delta, or of some certificates only.
    private static void ReadExtensions(AsnReader extensions, string[] understood)
    {
        while (extensions.HasData)
        {
            AsnReader extension = extensions.ReadSequence();
            string kind = extension.ReadObjectIdentifier();
            bool isCritical = extension.PeekTag().HasSameClassAndValue(Asn1Tag.Boolean) && extension.ReadBoolean();
            extension.ReadOctetString();
            extension.ThrowIfNotEmpty();
            if (isCritical && !understood.Contains(kind))
                throw new CryptographicException($"its critical extension {kind} is not understood here: a complete list is needed");
        }
    }

    private static string ReadAlgorithm(AsnReader reader) => reader.ReadSequence().ReadObjectIdentifier();

    private static bool IsTime(AsnReader reader) => reader.HasData
        && (reader.PeekTag().HasSameClassAndValue(Asn1Tag.UtcTime) || reader.PeekTag().HasSameClassAndValue(Asn1Tag.GeneralizedTime));

    private static DateTimeOffset ReadTime(AsnReader reader) =>
        reader.PeekTag().HasSameClassAndValue(Asn1Tag.UtcTime) ? reader.ReadUtcTime() : reader.ReadGeneralizedTime();
}
