using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>What a client is doing.</summary>
public enum DeviceClientPhase
{
    /// <summary>Not started; frames can be handed over.</summary>
    Created,

    /// <summary>Connecting or shaking hands.</summary>
    Connecting,

    /// <summary>Welcomed by the gateway.</summary>
    Online,

    /// <summary>Waiting for the next connect.</summary>
    Waiting,

    /// <summary>Stopped for good.</summary>
    Stopped,
}

/// <summary>Why a connection, or the attempt at one, ended.</summary>
public enum ConnectionEndKind
{
    /// <summary>The address was not found or not reached.</summary>
    ConnectFailed,

    /// <summary>There was no WELCOME within the connect timeout.</summary>
    HandshakeTimedOut,

    /// <summary>The gateway's certificate or proof is wrong, or it does not grant the tags required.</summary>
    GatewayNotTrusted,

    /// <summary>The gateway sent REFUSE.</summary>
    Refused,

    /// <summary>The gateway remembers frames that this boot never sent; the client takes a new boot id.</summary>
    BootIdReused,

    /// <summary>The gateway sent BYE.</summary>
    Bye,

    /// <summary>A frame was damaged, not ended in time, or not to be sent by a gateway.</summary>
    ProtocolError,

    /// <summary>Nothing was received for the idle timeout.</summary>
    Silence,

    /// <summary>The line broke or the gateway closed it.</summary>
    Lost,

    /// <summary><see cref="DeviceClient.DropConnection"/> was called.</summary>
    DroppedOnRequest,

    /// <summary>All sequences of the boot are used and settled; the client takes a new boot id.</summary>
    SequencesUsedUp,

    /// <summary>The client was stopped.</summary>
    Stopped,
}

/// <summary>Why a connection ended.</summary>
/// <param name="Kind">The reason.</param>
/// <param name="Detail">A text for people. It may hold text from the network: escape it before it is shown.</param>
public sealed record ConnectionEnd(ConnectionEndKind Kind, string Detail)
{
    /// <summary>The reason of the REFUSE; null if there was none.</summary>
    public RefuseReason? Refuse { get; init; }

    /// <summary>The reason of the gateway's BYE; null if there was none.</summary>
    public ByeReason? Bye { get; init; }

    /// <summary>
    /// REFUSE's shortest time to the next connect, as sent; the client waits for at most one hour of it.
    /// </summary>
    public TimeSpan RetryAfter { get; init; }

    // A REFUSE 10, or what comes to the same, is cured by a new boot id alone.
    internal bool NeedsNewBoot { get; init; }
}

/// <summary>What a client is doing, and why.</summary>
/// <param name="Phase">What it is doing.</param>
/// <param name="LastEnd">Why the last connection or attempt ended; null before the first end.</param>
/// <param name="Until">While waiting: when it connects again, by the client's clock; else null.</param>
public readonly record struct DeviceClientState(
    DeviceClientPhase Phase, ConnectionEnd? LastEnd = null, DateTimeOffset? Until = null);

/// <summary>Numbers of a client at one moment. Accepted = Acknowledged + Refused + Dropped + KeptFrames.</summary>
public sealed record DeviceClientStatus
{
    /// <summary>What the client is doing.</summary>
    public required DeviceClientState State { get; init; }

    /// <summary>Whether the gateway has welcomed it.</summary>
    public bool Connected => State.Phase == DeviceClientPhase.Online;

    /// <summary>Times that the gateway has welcomed it.</summary>
    public required long Connects { get; init; }

    /// <summary>DATA frames handed over.</summary>
    public required long Accepted { get; init; }

    /// <summary>DATA frames put on the wire, repeated ones too.</summary>
    public required long Sent { get; init; }

    /// <summary>DATA frames put on the wire again under the same sequence.</summary>
    public required long Repeated { get; init; }

    /// <summary>DATA frames that the gateway has acknowledged.</summary>
    public required long Acknowledged { get; init; }

    /// <summary>DATA frames refused, by NACK or for their size.</summary>
    public required long Refused { get; init; }

    /// <summary>DATA frames dropped for want of memory.</summary>
    public required long Dropped { get; init; }

    /// <summary>DATA frames kept.</summary>
    public required int KeptFrames { get; init; }

    /// <summary>Bytes of <see cref="DeviceClientOptions.MemoryBytesMax"/> in use.</summary>
    public required int KeptBytes { get; init; }

    /// <summary>The boot id in use.</summary>
    public required uint BootId { get; init; }

    /// <summary>Highest sequence of this boot that the gateway has called safe; 0 for none.</summary>
    public required uint LastSafe { get; init; }

    /// <summary>
    /// What to add to the client's clock for the gateway's time, as of the last WELCOME; null if the gateway's clock
    /// was
    /// not synchronised, or before the first WELCOME.
    /// </summary>
    public required TimeSpan? GatewayTimeOffset { get; init; }
}
