namespace IotTcpGateway.Buffer;

/// <summary>When a frame is acknowledged.</summary>
internal enum AckPolicy
{
    /// <summary>When it would survive a power cut.</summary>
    Safe,

    /// <summary>When it is in memory.</summary>
    Memory,
}

/// <summary>What happens to frames when the buffer is full.</summary>
internal enum WhenFull
{
    /// <summary>Devices wait: window 0.</summary>
    Refuse,

    /// <summary>The oldest record that is not in flight makes room.</summary>
    DropOldest,

    /// <summary>The arriving frame is dropped.</summary>
    DropNewest,
}

/// <summary>In which order a backlog on disk and what arrives meanwhile go to the broker.</summary>
internal enum DrainOrder
{
    /// <summary>In order of arrival.</summary>
    InOrder,

    /// <summary>What arrives goes at once; the backlog follows behind it, marked as such.</summary>
    LiveFirst,
}

/// <summary>Section "buffer".</summary>
internal sealed class BufferOptions
{
    /// <summary>Less disk than this is of no use.</summary>
    public const long DiskMin = 4 << 20;

    /// <summary>Less memory than this does not go with a disk.</summary>
    public const long MemoryMinWithDisk = 512 << 10;

    public AckPolicy Ack { get; set; } = AckPolicy.Safe;

    /// <summary>Bytes of memory that records may take; a hard cap.</summary>
    public long Memory { get; set; } = 8 * 1024 * 1024;

    public WhenFull WhenFull { get; set; } = WhenFull.Refuse;

    /// <summary>Where frames are kept that the broker does not take; made if it is missing.</summary>
    public string Directory { get; set; } = "/var/lib/iot-tcp-gateway/buffer";

    /// <summary>Bytes of disk that frames may take; a hard cap. 0: memory alone.</summary>
    public long Disk { get; set; } = 1L << 30;

    /// <summary>Bytes of disk for frames that the broker refused for good; the oldest go.</summary>
    public long Quarantine { get; set; } = 16L << 20;

    /// <summary>
    /// Age of the oldest frame that is neither confirmed nor on disk, from which on all are put on disk.
    /// </summary>
    public TimeSpan SpillAfter { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>Time in which the gateway runs, after which a frame is given up.</summary>
    public TimeSpan MaxAge { get; set; } = TimeSpan.FromDays(7);

    public DrainOrder Drain { get; set; } = DrainOrder.InOrder;

    /// <summary>Percent of the messages that a backlog gets while live frames wait too, when these go first.</summary>
    public int DrainShare { get; set; } = 50;

    /// <summary>Most frames of a backlog a second; 0 for no limit.</summary>
    public int DrainRate { get; set; }
}
