using System.Security.Cryptography;

namespace IotTcpGateway.Protocol;

/// <summary>The HMAC-SHA-256 proofs by which device and gateway show each other that they hold the same key.</summary>
public static class Proofs
{
    // The longest HELLO has 156 bytes; what surrounds it, 48.
    private const int MessageBytesUsual = 256;

    /// <summary>The device's proof: HMAC(key, "ITGP1 device" | HELLO body | gateway nonce).</summary>
    /// <param name="key">32 bytes.</param>
    /// <param name="helloBody">The HELLO body as sent.</param>
    /// <param name="gatewayNonce">16 bytes of CHALLENGE.</param>
    /// <param name="proof">Receives 32 bytes.</param>
    public static void Device(
        ReadOnlySpan<byte> key, ReadOnlySpan<byte> helloBody, ReadOnlySpan<byte> gatewayNonce, Span<byte> proof) =>
        Compute(key, "ITGP1 device"u8, helloBody, gatewayNonce, default, proof);

    /// <summary>The gateway's proof, over WELCOME's body before the proof too.</summary>
    public static void Gateway(
        ReadOnlySpan<byte> key,
        ReadOnlySpan<byte> helloBody,
        ReadOnlySpan<byte> gatewayNonce,
        ReadOnlySpan<byte> welcomeBodyBeforeProof,
        Span<byte> proof) =>
        Compute(key, "ITGP1 gateway"u8, helloBody, gatewayNonce, welcomeBodyBeforeProof, proof);

    /// <summary>The key of this session's tags: HMAC(key, "ITGP1 session" | HELLO body | gateway nonce).</summary>
    public static void SessionKey(
        ReadOnlySpan<byte> key, ReadOnlySpan<byte> helloBody, ReadOnlySpan<byte> gatewayNonce, Span<byte> sessionKey) =>
        Compute(key, "ITGP1 session"u8, helloBody, gatewayNonce, default, sessionKey);

    /// <summary>Compares two proofs in constant time.</summary>
    public static bool AreEqual(ReadOnlySpan<byte> a, ReadOnlySpan<byte> b) =>
        CryptographicOperations.FixedTimeEquals(a, b);

    private static void Compute(
        ReadOnlySpan<byte> key,
        ReadOnlySpan<byte> label,
        ReadOnlySpan<byte> helloBody,
        ReadOnlySpan<byte> gatewayNonce,
        ReadOnlySpan<byte> welcome,
        Span<byte> result)
    {
        int bytes = label.Length + helloBody.Length + gatewayNonce.Length + welcome.Length;
        Span<byte> message = bytes <= MessageBytesUsual ? stackalloc byte[MessageBytesUsual] : new byte[bytes];
        var writer = new BodyWriter(message);
        writer.Put(label);
        writer.Put(helloBody);
        writer.Put(gatewayNonce);
        writer.Put(welcome);
        HMACSHA256.HashData(key, message[..bytes], result);
    }
}
