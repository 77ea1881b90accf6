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

/// <summary>Section "buffer".</summary>
internal sealed class BufferOptions
{
    public AckPolicy Ack { get; set; } = AckPolicy.Safe;

    /// <summary>Bytes of memory that records may take; a hard cap.</summary>
    public long Memory { get; set; } = 8 * 1024 * 1024;

    public WhenFull WhenFull { get; set; } = WhenFull.Refuse;
}
