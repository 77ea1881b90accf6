using IotTcpGateway.Protocol;

namespace IotTcpGateway.Ingest;

/// <summary>Why a connection ends, and what its device is told.</summary>
/// <param name="Label">The reason in kebab case, for metrics and status.</param>
/// <param name="Bye">Sent to a device that was welcomed; null for nothing.</param>
/// <param name="Refuse">Sent to a device that was not; null for nothing.</param>
/// <param name="Text">Text of the REFUSE.</param>
/// <param name="RetryAfterSeconds">Of the REFUSE.</param>
/// <param name="Misdeed">What counts against the address.</param>
internal sealed record SessionEnding(
    string Label,
    ByeReason? Bye = null,
    RefuseReason? Refuse = null,
    string Text = "",
    ushort RetryAfterSeconds = 0,
    Misdeed Misdeed = Misdeed.None)
{
    public static readonly SessionEnding Lost = new("lost");
    public static readonly SessionEnding PeerBye = new("bye");
    public static readonly SessionEnding SilentTimeout = new("handshake-timeout");
    public static readonly SessionEnding SlowSend = new("not-reading");
    public static readonly SessionEnding Aborted = new("shutting-down");
    public static readonly SessionEnding TlsFailed = new("tls-failed", Misdeed: Misdeed.BadBytes);
    public static readonly SessionEnding Idle = new("idle", ByeReason.Idle);
    public static readonly SessionEnding Superseded =
        new("superseded", ByeReason.Superseded, RefuseReason.TooManyConnections, "superseded by a newer one", 60);
    public static readonly SessionEnding Revoked =
        new("revoked", ByeReason.Normal, RefuseReason.AuthenticationFailed, "authentication failed", 30);
    public static readonly SessionEnding ShuttingDown =
        new("shutting-down", ByeReason.ShuttingDown, RefuseReason.ShuttingDown, "shutting down", 5);
    public static readonly SessionEnding FrameTimeout = new(
        "frame-timeout", ByeReason.ProtocolError, RefuseReason.ProtocolError, "the frame did not end in time", 1,
        Misdeed.BadBytes);
    public static readonly SessionEnding HandshakeTimeout = new(
        "handshake-timeout", null, RefuseReason.ProtocolError, "the handshake took too long", 1, Misdeed.BadBytes);
    public static readonly SessionEnding AuthenticationFailed = new(
        "authentication-failed", null, RefuseReason.AuthenticationFailed, "authentication failed", 30,
        Misdeed.FailedProof);
    // Said as if its proof had failed: who may not come in learns nothing of who may.
    public static readonly SessionEnding NotApproved =
        new("not-approved", null, RefuseReason.AuthenticationFailed, "authentication failed", 30);
    public static readonly SessionEnding ModeNotAccepted =
        new("mode-not-accepted", null, RefuseReason.AuthenticationModeNotAccepted, "mode not accepted here", 60);
    public static readonly SessionEnding BootIdReused =
        new("boot-id-reused", null, RefuseReason.BootIdReused, "boot id already used: take a new one");
    public static readonly SessionEnding TooMany =
        new("too-many", null, RefuseReason.TooManyConnections, "too many connections or devices", 5);
    public static readonly SessionEnding CrowdedOut =
        new("crowded-out", null, RefuseReason.TooManyConnections, "too many connections", 1);
    public static readonly SessionEnding NoTableMemory = new("no-table-memory", ByeReason.ServerError);
    public static readonly SessionEnding Defect =
        new("server-error", ByeReason.ServerError, RefuseReason.NoMemory, "server error", 30);

    // Refused at accept, before anything was read.
    public static readonly SessionEnding AddressNotAllowed =
        new("address-not-allowed", null, RefuseReason.AddressNotAllowed, "address not allowed", 3600);
    public static readonly SessionEnding RateLimited =
        new("rate-limited", null, RefuseReason.RateLimited, "too many errors from this address", 60);
    public static readonly SessionEnding NoHandshakePlace =
        new("too-many-unauthenticated", null, RefuseReason.TooManyConnections, "too many connections", 1);

    /// <summary>The bytes were not a frame.</summary>
    public static SessionEnding BadBytes(string label) =>
        new(label, ByeReason.ProtocolError, RefuseReason.ProtocolError, label, 1, Misdeed.BadBytes);

    /// <summary>The frame was right, and not to be sent now.</summary>
    public static SessionEnding Violation(string label) =>
        new(label, ByeReason.ProtocolError, Misdeed: Misdeed.Violation);

    /// <summary>A violation during the handshake.</summary>
    public static SessionEnding BadHandshake(string label) =>
        new(label, null, RefuseReason.ProtocolError, label, 1, Misdeed.BadBytes);

    /// <summary>It failed to prove who it is too often, and has to wait.</summary>
    public static SessionEnding BackOff(TimeSpan wait) => new(
        "back-off", null, RefuseReason.RateLimited, "too many failed proofs", (ushort)Math.Ceiling(wait.TotalSeconds),
        Misdeed.FailedProof);

    /// <summary>For a connection that admission does not let in.</summary>
    public static SessionEnding At(RefuseReason reason) => reason switch
    {
        RefuseReason.AddressNotAllowed => AddressNotAllowed,
        RefuseReason.RateLimited => RateLimited,
        _ => NoHandshakePlace,
    };
}
