using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>What the buffer can do on disk.</summary>
internal enum DiskState
{
    /// <summary>None is configured.</summary>
    Off,

    /// <summary>Everything.</summary>
    Healthy,

    /// <summary>The configured room, or the file system, is full: nothing more is taken on disk.</summary>
    Full,

    /// <summary>It refuses: what is not on disk already waits for the broker in memory.</summary>
    Failed,
}

/// <summary>What the buffer says of the disk.</summary>
internal sealed record DiskStatus
{
    public static readonly DiskStatus Off = new();

    public DiskState State { get; init; } = DiskState.Off;

    /// <summary>What the disk refused last; empty when it is healthy.</summary>
    public string Error { get; init; } = "";

    /// <summary>Bytes of the lanes' files.</summary>
    public long Bytes { get; init; }

    public long BytesMax { get; init; }

    /// <summary>Frames on disk that the broker has not confirmed.</summary>
    public long Records { get; init; }

    /// <summary>Whether frames go to disk at present.</summary>
    public bool IsSpilling { get; init; }

    /// <summary>Bytes given to the disk since the start.</summary>
    public long WrittenBytes { get; init; }

    /// <summary>Bytes that reached the device for this process; null if the kernel does not tell.</summary>
    public long? DeviceBytes { get; init; }

    public long? DeviceBytesPerDay { get; init; }

    /// <summary>Frames put into quarantine since the start.</summary>
    public long Quarantined { get; init; }

    /// <summary>Frames that could not be read back.</summary>
    public long Lost { get; init; }

    /// <summary>Seconds until it is full at the rate of the last minute; null if it does not fill.</summary>
    public double? SecondsUntilFull { get; init; }

    /// <summary>How long the last sync took, ms.</summary>
    public double LastSyncMilliseconds { get; init; }

    /// <summary>The word for a state.</summary>
    public static string Word(DiskState state) => state switch
    {
        DiskState.Off => "off",
        DiskState.Healthy => "healthy",
        DiskState.Full => "full",
        _ => "failed",
    };

    internal static DiskState Of(JournalState state) => state switch
    {
        JournalState.Healthy => DiskState.Healthy,
        JournalState.Full => DiskState.Full,
        _ => DiskState.Failed,
    };
}
