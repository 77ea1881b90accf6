namespace IotTcpGateway.Protocol;

/// <summary>Sizes and limits of ITGP/1. All sizes are in bytes.</summary>
public static class ProtocolConstants
{
    /// <summary>The protocol version that this library speaks.</summary>
    public const byte Version = 1;

    /// <summary>First magic byte.</summary>
    public const byte Magic0 = 0xC7;

    /// <summary>Second magic byte.</summary>
    public const byte Magic1 = 0x49;

    /// <summary>Bytes of a frame before its body.</summary>
    public const int HeaderBytes = 12;

    /// <summary>Bytes of the tag that follows the body of a tagged frame.</summary>
    public const int TagBytes = 16;

    /// <summary>Bytes of the CRC-32C that ends a frame.</summary>
    public const int ChecksumBytes = 4;

    /// <summary>Largest body of a frame from a device, after WELCOME.</summary>
    public const int BodyBytesMax = 16_384;

    /// <summary>Largest body of a frame before WELCOME, and of any frame from the gateway.</summary>
    public const int ControlBodyBytesMax = 512;

    /// <summary>Bytes of a nonce.</summary>
    public const int NonceBytes = 16;

    /// <summary>Bytes of a proof, a key and a session key.</summary>
    public const int ProofBytes = 32;

    /// <summary>Bytes of a device key.</summary>
    public const int KeyBytes = 32;

    /// <summary>Longest device id, channel name or firmware version.</summary>
    public const int NameBytesMax = 64;

    /// <summary>Longest unit.</summary>
    public const int UnitBytesMax = 32;

    /// <summary>Largest body of PING and PONG.</summary>
    public const int PingBytesMax = 32;

    /// <summary>Default port of plain TCP.</summary>
    public const int DefaultPort = 7183;

    /// <summary>Default port of TLS.</summary>
    public const int DefaultTlsPort = 7184;

    /// <summary>Bytes of a whole frame with this body.</summary>
    public static int FrameBytes(int bodyBytes, bool tagged) =>
        HeaderBytes + bodyBytes + (tagged ? TagBytes : 0) + ChecksumBytes;
}
