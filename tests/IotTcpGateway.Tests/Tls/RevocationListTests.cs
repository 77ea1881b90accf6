using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.TestKit;
using IotTcpGateway.Tls;

using Xunit;

namespace IotTcpGateway.Tests.Tls;

public sealed class RevocationListTests
{
    private static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Read_SignedList_KnowsWhatItRevokes(bool isRsa)
    {
        using var pki = new DevicePki(Now, isRsa);
        X509Certificate2[] all = [.. Enumerable.Range(0, 20).Select(i => pki.Issue($"d{i}", isRsa: isRsa))];
        var list = RevocationList.Read(pki.Crl(pki.Root, all.Where((_, i) => i % 3 == 0)), [pki.Intermediate, pki.Root]);
        Assert.Equal(7, list.Count);
        Assert.Equal(Now.AddDays(30), list.NextUpdate);
        Assert.Equal(AuthorityId.Of(pki.Root), list.Issuer);
        for (int i = 0; i < all.Length; i++)
            Assert.Equal(i % 3 == 0, list.Contains(SerialOf(all[i])));
    }

    [Fact]
    public void Read_EveryChangedByteAndEveryPrefix_IsRefused()
    {
        using var pki = new DevicePki(Now);
        byte[] der = pki.Crl(pki.Root, [pki.Issue("d1"), pki.Issue("d2")]);
        for (int i = 0; i < der.Length; i++)
        {
            AssertRefused(der[..i], pki);
            byte[] changed = [.. der];
            changed[i] ^= 1;
            AssertRefused(changed, pki);
        }
    }

    [Fact]
    public void Read_OfForeignAuthorityOfTheSameName_IsRefused()
    {
        using var pki = new DevicePki(Now);
        using var other = new DevicePki(Now);
        var e = Assert.Throws<CryptographicException>(() => RevocationList.Read(other.Crl(other.Root, []), [pki.Root]));
        Assert.Contains("has not signed it", e.Message, StringComparison.Ordinal);
        e = Assert.Throws<CryptographicException>(() => RevocationList.Read(pki.Crl(pki.Intermediate, []), [pki.Root]));
        Assert.Contains("not among the authorities", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_CriticalExtension_IsRefused()
    {
        using var pki = new DevicePki(Now);
        // A delta list is made by hand: the builder makes none.
        byte[] der = Rebuilt(pki, "2.5.29.27");
        var e = Assert.Throws<CryptographicException>(() => RevocationList.Read(der, [pki.Root]));
        Assert.Contains("2.5.29.27", e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "00")]
    [InlineData("00", "00")]
    [InlineData("0001", "01")]
    [InlineData("00FF00000000000000000000000000000000000001", "FF00000000000000000000000000000000000001")]
    public void SerialNumber_LeadingZeros_DoNotCount(string hex, string shown)
    {
        Assert.True(SerialNumber.TryRead(Convert.FromHexString(hex), out SerialNumber number));
        Assert.Equal(shown, number.ToString());
        Assert.False(SerialNumber.TryRead(Convert.FromHexString("01" + new string('0', 40)), out _));
    }

    private static SerialNumber SerialOf(X509Certificate2 certificate) =>
        SerialNumber.TryRead(certificate.SerialNumberBytes.Span, out SerialNumber serial) ? serial : throw new InvalidDataException();

    private static void AssertRefused(byte[] der, DevicePki pki)
    {
        Exception? e = Record.Exception(() => RevocationList.Read(der, [pki.Root]));
        Assert.True(e is CryptographicException or AsnContentException, $"{e}");
    }

    private static byte[] Rebuilt(DevicePki pki, string criticalExtension)
    {
        var body = new AsnWriter(AsnEncodingRules.DER);
        using (body.PushSequence())
        {
            body.WriteInteger(1);
            WriteAlgorithm(body);
            body.WriteEncodedValue(pki.Root.SubjectName.RawData);
            body.WriteUtcTime(Now);
            using (body.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
            using (body.PushSequence())
            using (body.PushSequence())
            {
                body.WriteObjectIdentifier(criticalExtension);
                body.WriteBoolean(true);
                body.WriteOctetString([2, 1, 1]);
            }
        }

        byte[] signed = body.Encode();
        using ECDsa key = pki.Root.GetECDsaPrivateKey()!;
        var list = new AsnWriter(AsnEncodingRules.DER);
        using (list.PushSequence())
        {
            list.WriteEncodedValue(signed);
            WriteAlgorithm(list);
            list.WriteBitString(key.SignData(signed, HashAlgorithmName.SHA256, DSASignatureFormat.Rfc3279DerSequence));
        }

        return list.Encode();
    }

    private static void WriteAlgorithm(AsnWriter writer)
    {
        using (writer.PushSequence())
            writer.WriteObjectIdentifier("1.2.840.10045.4.3.2");
    }
}
