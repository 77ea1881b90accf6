using IotTcpGateway.Tls;

namespace IotTcpGateway.Ingest;

/// <summary>Why a TLS handshake failed, in words that say what to do.</summary>
internal static class TlsFailure
{
    // What OpenSSL and SslStream say, and what it comes from as a rule.
    private static readonly (string Said, string Meaning)[] Known =
    [
        ("unsupported protocol", "it speaks nothing newer than TLS 1.1: update its firmware"),
        ("no shared cipher", "it has no cipher suite in common with the gateway: it needs ECDHE with AES-GCM or ChaCha20"),
        ("corrupted frame", "it does not speak TLS: look for a wrong port there"),
        ("wrong version number", "it does not speak TLS: look for a wrong port there"),
        ("packet length too long", "it does not speak TLS: look for a wrong port there"),
        ("unexpected message", "it does not speak TLS: look for a wrong port there"),
        ("alert unknown ca", "it does not know the authority of the gateway's certificate: give it that"),
        ("alert bad certificate", "it refuses the gateway's certificate: compare names and authority"),
        ("alert certificate unknown", "it refuses the gateway's certificate: compare names and authority"),
        ("alert certificate expired", "it finds the gateway's certificate expired: compare clocks"),
    ];

    public static string Explain(CertificateVerdict verdict, Exception exception) => verdict switch
    {
        CertificateVerdict.Missing => "it shows no certificate, and this listener needs one: give it one",
        CertificateVerdict.UnknownAuthority => "its certificate is of an authority that is not in clientCa",
        CertificateVerdict.Expired => "its certificate has expired: give it a new one",
        CertificateVerdict.NotYetValid => "its certificate is not valid yet: compare clocks",
        CertificateVerdict.Revoked => "its certificate is revoked",
        CertificateVerdict.WrongPurpose => "its certificate is not for clients (extended key usage clientAuth)",
        CertificateVerdict.Invalid => "its certificate or what it comes with is malformed",
        _ => Explain(exception),
    };

    private static string Explain(Exception exception)
    {
        string said = exception.GetBaseException().Message;
        foreach ((string part, string meaning) in Known)
        {
            if (said.Contains(part, StringComparison.OrdinalIgnoreCase))
                return meaning;
        }

        return exception is IOException ? "it ended the connection: perhaps it refuses the gateway's certificate" : said;
    }
}
