namespace IotTcpGateway.Protocol;

/// <summary>How a device authenticates.</summary>
public enum AuthenticationMode : byte
{
    /// <summary>Not at all.</summary>
    None = 0,

    /// <summary>By proving a shared key.</summary>
    Hmac = 1,

    /// <summary>By its TLS client certificate.</summary>
    Certificate = 2,
}

/// <summary>Feature bits of HELLO and WELCOME.</summary>
[Flags]
public enum Features : byte
{
    /// <summary>No feature.</summary>
    None = 0,

    /// <summary>Frames after WELCOME carry a tag.</summary>
    TaggedFrames = 1,
}

/// <summary>Why a REFUSE was sent.</summary>
public enum RefuseReason : byte
{
    /// <summary>The frame version is not spoken here.</summary>
    VersionNotSupported = 1,

    /// <summary>The listener does not accept this authentication mode.</summary>
    AuthenticationModeNotAccepted = 2,

    /// <summary>Wrong key, unknown or revoked: not to be told apart.</summary>
    AuthenticationFailed = 3,

    /// <summary>The address is not on the allow list.</summary>
    AddressNotAllowed = 4,

    /// <summary>A limit on connections or devices is reached.</summary>
    TooManyConnections = 5,

    /// <summary>The address misbehaved too often.</summary>
    RateLimited = 6,

    /// <summary>The gateway is shutting down.</summary>
    ShuttingDown = 7,

    /// <summary>The bytes were not the protocol.</summary>
    ProtocolError = 8,

    /// <summary>No memory for another session.</summary>
    NoMemory = 9,

    /// <summary>The boot id was used before with higher sequences.</summary>
    BootIdReused = 10,
}

/// <summary>Why a NACK was sent.</summary>
public enum NackReason : byte
{
    /// <summary>The body is malformed.</summary>
    MalformedBody = 1,

    /// <summary>The body is larger than accepted.</summary>
    BodyTooLarge = 3,

    /// <summary>The device may not write this channel.</summary>
    ChannelNotAllowed = 5,

    /// <summary>A validation rule, or the broker for good, refused the value.</summary>
    ValueRefused = 6,

    /// <summary>Dropped because the buffer is full.</summary>
    Dropped = 7,
}

/// <summary>Why a BYE was sent.</summary>
public enum ByeReason : byte
{
    /// <summary>A normal end.</summary>
    Normal = 0,

    /// <summary>The sender is shutting down.</summary>
    ShuttingDown = 1,

    /// <summary>A newer connection of the same device took over.</summary>
    Superseded = 2,

    /// <summary>Nothing was received for the idle timeout.</summary>
    Idle = 3,

    /// <summary>The peer broke the protocol.</summary>
    ProtocolError = 4,

    /// <summary>The gateway cannot go on with this connection.</summary>
    ServerError = 5,
}
