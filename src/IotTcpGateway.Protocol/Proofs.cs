using System.Security.Cryptography;

namespace IotTcpGateway.Protocol;

/// <summary>The HMAC-SHA-256 proofs by which device and gateway show each other that they hold the same key.</summary>
public static class Proofs
{
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
        using IncrementalHash hash = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, key);
        hash.AppendData(label);
        hash.AppendData(helloBody);
        hash.AppendData(gatewayNonce);
        hash.AppendData(welcome);
        hash.GetHashAndReset(result);
    }
}
