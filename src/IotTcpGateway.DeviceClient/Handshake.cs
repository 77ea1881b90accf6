using System.Text;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>What WELCOME says, once it is believed.</summary>
internal sealed record WelcomeTerms
{
    /// <summary>Unix µs; 0 if the gateway's clock is not synchronised.</summary>
    public required long GatewayTime { get; init; }

    public required uint LastSafe { get; init; }

    public required ushort Window { get; init; }

    /// <summary>Bytes.</summary>
    public required int LargestBody { get; init; }

    public required TimeSpan IdleTimeout { get; init; }

    /// <summary>32 bytes that sign the tags; null without tags.</summary>
    public required byte[]? SessionKey { get; init; }
}

/// <summary>What to do after a frame of the handshake: one of the three.</summary>
/// <param name="Auth">Body of an AUTH to send.</param>
/// <param name="Terms">The session begins.</param>
/// <param name="End">The connection ends.</param>
internal readonly record struct HandshakeStep(byte[]? Auth, WelcomeTerms? Terms, ConnectionEnd? End);

/// <summary>From HELLO to WELCOME, without a socket: bytes in, decisions out.</summary>
internal sealed class Handshake
{
    private readonly AuthenticationMode mode;
    private readonly bool requireTags;
    private readonly ReadOnlyMemory<byte> key;
    private byte[]? gatewayNonce;

    public Handshake(
        DeviceClientOptions options, ReadOnlyMemory<byte> key, uint bootId, uint highestUsed, ReadOnlySpan<byte> nonce)
    {
        mode = options.Authentication;
        requireTags = options.RequireTags;
        this.key = key;
        Span<byte> body = stackalloc byte[ProtocolConstants.ControlBodyBytesMax];
        var hello = new Hello
        {
            Authentication = mode,
            Features = requireTags ? Features.TaggedFrames : Features.None,
            BootId = bootId,
            HighestUsed = highestUsed,
            DeviceNonce = nonce,
            DeviceId = Encoding.UTF8.GetBytes(options.DeviceId),
            Firmware = Encoding.UTF8.GetBytes(options.Firmware),
        };
        HelloBody = body[..hello.WriteBody(body)].ToArray();
    }

    public byte[] HelloBody { get; }

    public HandshakeStep Take(FrameType type, ReadOnlySpan<byte> body) => type switch
    {
        FrameType.Challenge when mode == AuthenticationMode.Hmac && gatewayNonce is null => TakeChallenge(body),
        FrameType.Welcome => TakeWelcome(body),
        FrameType.Refuse => TakeRefuse(body),
        FrameType.Bye when body.Length == 1 => EndWith(Endings.OfBye((ByeReason)body[0])),
        _ => EndWith(Endings.Unexpected(type)),
    };

    private HandshakeStep TakeChallenge(ReadOnlySpan<byte> body)
    {
        if (body.Length != ProtocolConstants.NonceBytes)
            return EndWith(Endings.Malformed(FrameType.Challenge));
        gatewayNonce = body.ToArray();
        var proof = new byte[ProtocolConstants.ProofBytes];
        Proofs.Device(key.Span, HelloBody, gatewayNonce, proof);
        return new HandshakeStep(proof, null, null);
    }

    private HandshakeStep TakeWelcome(ReadOnlySpan<byte> body)
    {
        if (!Welcome.TryRead(body, out Welcome welcome))
            return EndWith(Endings.Malformed(FrameType.Welcome));
        byte[]? sessionKey = null;
        if (mode == AuthenticationMode.Hmac)
        {
            // Nothing in WELCOME is acted on before this.
            if (gatewayNonce is null)
                return NotTrusted("WELCOME without CHALLENGE");
            if (!IsProven(body))
                return NotTrusted("the gateway's proof is wrong: it does not hold this device's key");
            if (requireTags && !welcome.FeaturesGranted.HasFlag(Features.TaggedFrames))
                return NotTrusted("the gateway does not grant tagged frames");
            sessionKey = requireTags ? SessionKey() : null;
        }

        return new HandshakeStep(null, Terms(welcome, sessionKey), null);
    }

    private HandshakeStep TakeRefuse(ReadOnlySpan<byte> body)
    {
        if (!Refuse.TryRead(body, out Refuse refuse))
            return EndWith(Endings.Malformed(FrameType.Refuse));
        // The gateway looks at the boot id after authentication alone: before it, the word comes from anybody.
        bool isAuthenticated = mode != AuthenticationMode.Hmac || gatewayNonce is not null;
        return EndWith(Endings.OfRefuse(refuse, isAuthenticated));
    }

    private bool IsProven(ReadOnlySpan<byte> body)
    {
        Span<byte> expected = stackalloc byte[ProtocolConstants.ProofBytes];
        Proofs.Gateway(key.Span, HelloBody, gatewayNonce, body[..Welcome.BytesBeforeProof], expected);
        return Proofs.AreEqual(expected, body[Welcome.BytesBeforeProof..]);
    }

    private byte[] SessionKey()
    {
        var sessionKey = new byte[ProtocolConstants.ProofBytes];
        Proofs.SessionKey(key.Span, HelloBody, gatewayNonce, sessionKey);
        return sessionKey;
    }

    private static WelcomeTerms Terms(in Welcome welcome, byte[]? sessionKey) => new()
    {
        GatewayTime = welcome.GatewayTime,
        LastSafe = welcome.LastSafeSequence,
        Window = welcome.Window,
        LargestBody = Math.Min((int)welcome.LargestBody, ProtocolConstants.BodyBytesMax),
        IdleTimeout = TimeSpan.FromSeconds(Math.Max((int)welcome.IdleTimeoutSeconds, 1)),
        SessionKey = sessionKey,
    };

    private static HandshakeStep NotTrusted(string detail) =>
        EndWith(new ConnectionEnd(ConnectionEndKind.GatewayNotTrusted, detail));

    private static HandshakeStep EndWith(ConnectionEnd end) => new(null, null, end);
}
