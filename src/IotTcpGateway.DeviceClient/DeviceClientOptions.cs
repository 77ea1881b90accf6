using System.Text;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>What a frame is worth when the memory for kept frames is full.</summary>
public enum WhenFull
{
    /// <summary>The new frame waits: nothing is lost, and the caller is held back.</summary>
    Wait,

    /// <summary>The oldest frame is dropped and reported: the newest values count most.</summary>
    DropOldest,
}

/// <summary>
/// Who a device is, where its gateway is, and how much it keeps. Checked by the constructor of <see
/// cref="DeviceClient"/>.
/// </summary>
public sealed class DeviceClientOptions
{
    internal const int MemoryBytesMin = 256;

    /// <summary>
    /// Host name or address of the gateway. With TLS this is also the name that its certificate must have.
    /// </summary>
    public required string Host { get; init; }

    /// <summary>TCP port, 1–65 535; by default a gateway listens on 7183 without TLS and on 7184 with it.</summary>
    public required int Port { get; init; }

    /// <summary>
    /// The device id: 1–64 of <c>A–Z a–z 0–9 . _ -</c>, not beginning with a dot, not <c>local</c> or <c>status</c>.
    /// </summary>
    public required string DeviceId { get; init; }

    /// <summary>
    /// The device's key, 32 bytes, copied by the client; null for none. With a key the client authenticates by HMAC and
    /// goes on only with a gateway that proves that it holds the same key.
    /// </summary>
    public byte[]? Key { get; init; }

    /// <summary>
    /// Whether every frame must carry a tag, so that nobody on the line can alter the stream. Needs <see cref="Key"/>.
    /// </summary>
    public bool RequireTags { get; init; }

    /// <summary>Firmware version for the gateway's device list, up to 64 bytes of UTF-8.</summary>
    public string Firmware { get; init; } = "";

    /// <summary>
    /// The first boot id, not 0; null for a random one. One that was used before makes the gateway refuse, and the
    /// client take a random one.
    /// </summary>
    public uint? BootId { get; init; }

    /// <summary>
    /// Channels described after every connect. A channel that is not described is named <c>ch</c> and its number.
    /// </summary>
    public IReadOnlyList<DescribedChannel> Channels { get; init; } = [];

    /// <summary>
    /// Bytes for frames not yet acknowledged, at least 256. A frame costs its body and 20 bytes. The memory grows up to
    /// this as it is needed. Beside it a client has about 20 KiB of buffers, and 4 bytes for every frame in
    /// flight.
    /// </summary>
    public int MemoryBytesMax { get; init; } = 64 * 1024;

    /// <summary>What happens to a new frame when that memory is full.</summary>
    public WhenFull WhenFull { get; init; } = WhenFull.Wait;

    /// <summary>TLS; null for plain TCP.</summary>
    public DeviceTlsOptions? Tls { get; init; }

    /// <summary>Longest time from the beginning of a connect to WELCOME; longer counts as a failed connect.</summary>
    public TimeSpan ConnectTimeout { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>The clock and its timers.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>
    /// Source of the jitter between connects, so that a thousand devices do not come back at the same moment.
    /// </summary>
    public Random Jitter { get; init; } = Random.Shared;

    /// <summary>
    /// Carries out a command. One command is carried out at a time, in the order of arrival; 16 may wait, further ones
    /// are
    /// answered with status 254. The token is cancelled when the connection that wants the answer has ended. Without a
    /// handler, or when it throws, the answer is status 255 with the reason as text.
    /// </summary>
    public Func<DeviceCommand, CancellationToken, ValueTask<DeviceCommandReply>>? OnCommand { get; init; }

    /// <summary>
    /// Told once of every DATA frame what became of it. It is called from the client's own work, possibly on several
    /// threads at once: it must be quick and not block. What it throws ends the client.
    /// </summary>
    public Action<FrameOutcome>? OnOutcome { get; init; }

    /// <summary>
    /// Told of every change of state, in order. It must be quick and not block; what it throws ends the client.
    /// </summary>
    public Action<DeviceClientState>? OnStateChanged { get; init; }

    // A seam for tests: nobody waits for four thousand million frames.
    internal uint FirstSequence { get; init; } = 1;

    internal AuthenticationMode Authentication =>
        Key is not null ? AuthenticationMode.Hmac
        : Tls?.CertificateFile is not null ? AuthenticationMode.Certificate
        : AuthenticationMode.None;

    internal void Validate()
    {
        ArgumentException.ThrowIfNullOrEmpty(Host);
        Require(Port is > 0 and <= ushort.MaxValue, nameof(Port), "must be 1–65535");
        Require(
            DeviceId is not null && Names.IsDeviceId(Encoding.UTF8.GetBytes(DeviceId)), nameof(DeviceId),
            "must be 1–64 of A–Z a–z 0–9 . _ -, not begin with a dot and not be 'local' or 'status'");
        Require(
            Key is null || Key.Length == ProtocolConstants.KeyBytes, nameof(Key),
            $"must be {ProtocolConstants.KeyBytes} bytes");
        Require(!RequireTags || Key is not null, nameof(RequireTags), "needs a key");
        Require(
            Encoding.UTF8.GetByteCount(Firmware) <= ProtocolConstants.NameBytesMax, nameof(Firmware),
            $"must be at most {ProtocolConstants.NameBytesMax} bytes of UTF-8");
        Require(BootId != 0, nameof(BootId), "must not be 0");
        Require(MemoryBytesMax >= MemoryBytesMin, nameof(MemoryBytesMax), $"must be at least {MemoryBytesMin}");
        Require(ConnectTimeout > TimeSpan.Zero, nameof(ConnectTimeout), "must be longer than nothing");
    }

    private static void Require(bool isTrue, string name, string rule)
    {
        if (!isTrue)
            throw new ArgumentException($"{name} {rule}", name);
    }
}
