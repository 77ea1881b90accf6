using System.Buffers.Binary;
using System.Security.Cryptography;

namespace IotTcpGateway.Keys;

/// <summary>How a device has to show who it is.</summary>
internal enum DeviceMode
{
    /// <summary>By proving its key.</summary>
    Hmac,

    /// <summary>By its client certificate.</summary>
    Certificate,

    /// <summary>Not at all: whoever says its id is taken for it.</summary>
    None,
}

/// <summary>What a device may do; null where nothing is said.</summary>
internal sealed record DevicePermissions
{
    public static readonly DevicePermissions Unlimited = new();

    /// <summary>Patterns of the channels that it may write; null for all.</summary>
    public IReadOnlyList<string>? Channels { get; init; }

    /// <summary>Patterns of the commands that it may be sent; null for all.</summary>
    public IReadOnlyList<string>? Commands { get; init; }

    /// <summary>Frames a second; null for what the listener says.</summary>
    public int? FramesPerSecond { get; init; }

    /// <summary>1 to 3; null for what the listener says.</summary>
    public int? Priority { get; init; }

    public bool IsSameAs(DevicePermissions other) =>
        AreSame(Channels, other.Channels) && AreSame(Commands, other.Commands)
        && FramesPerSecond == other.FramesPerSecond && Priority == other.Priority;

    private static bool AreSame(IReadOnlyList<string>? one, IReadOnlyList<string>? other) =>
        one is null || other is null ? ReferenceEquals(one, other) : one.SequenceEqual(other);
}

/// <summary>A key that still works beside the newer one, and until when.</summary>
internal sealed record FormerKey(byte[] Key, DateTimeOffset Until);

/// <summary>What the key file says of a device.</summary>
internal sealed record DeviceEntry
{
    public required string Id { get; init; }

    public DeviceMode Mode { get; init; }

    /// <summary>32 bytes; null unless <see cref="Mode"/> is HMAC and the device is not revoked.</summary>
    public byte[]? Key { get; init; }

    public FormerKey? Former { get; init; }

    public required DateTimeOffset Added { get; init; }

    /// <summary>When it was revoked: it gets in on no listener then, in no mode.</summary>
    public DateTimeOffset? Revoked { get; init; }

    public DevicePermissions Permissions { get; init; } = DevicePermissions.Unlimited;

    /// <summary>What it is after a moment: without its former key once that has ended.</summary>
    public DeviceEntry At(DateTimeOffset now) => Former is { } former && former.Until <= now ? this with { Former = null } : this;

    /// <summary>Whether a session that began with a key, or with none, may go on.</summary>
    /// <param name="keyPrint">Of the key that was proved; 0 for a certificate or for none.</param>
    /// <param name="mode">How the session began.</param>
    public bool Covers(ulong keyPrint, DeviceMode mode) => Revoked is null && mode switch
    {
        DeviceMode.Hmac => (Key is not null && PrintOf(Key) == keyPrint) || (Former is not null && PrintOf(Former.Key) == keyPrint),
        DeviceMode.Certificate => true,
        _ => Mode == DeviceMode.None,
    };

    /// <summary>Tells keys apart without keeping them: the first 8 bytes of their SHA-256, and never 0.</summary>
    public static ulong PrintOf(ReadOnlySpan<byte> key)
    {
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(key, hash);
        return BinaryPrimitives.ReadUInt64LittleEndian(hash) | 1;
    }

    /// <summary>Whether both say the same.</summary>
    public bool IsSameAs(DeviceEntry other) =>
        Mode == other.Mode && Revoked == other.Revoked && Key.AsSpan().SequenceEqual(other.Key)
        && Former?.Until == other.Former?.Until && (Former?.Key).AsSpan().SequenceEqual(other.Former?.Key)
        && Permissions.IsSameAs(other.Permissions);
}
