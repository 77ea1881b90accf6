namespace IotTcpGateway.Buffer;

/// <summary>Where a record lies in the buffer; ever growing in arrival order.</summary>
internal readonly record struct RecordHandle(long Value);

/// <summary>
/// A record that the forwarder has taken to publish. Its body lies in the buffer's memory and stays valid until the
/// forwarder's next call of the buffer other than <see cref="RecordBuffer.Read"/>: it is encoded at once, or read
/// again.
/// </summary>
internal readonly ref struct BufferedRecord
{
    public required RecordHandle Handle { get; init; }

    public required DeviceStream Stream { get; init; }

    public required uint Sequence { get; init; }

    public required ChannelTable Channels { get; init; }

    /// <summary>When the frame's last byte came.</summary>
    public required Arrival Arrival { get; init; }

    /// <summary>Whether newer records went before it, because live ones go first.</summary>
    public bool IsBackfill { get; init; }

    /// <summary>Whether it is on disk too.</summary>
    public bool IsSynced { get; init; }

    /// <summary>The DATA body as received, checked.</summary>
    public required ReadOnlySpan<byte> Body { get; init; }
}

/// <summary>Both clocks at a frame's arrival.</summary>
/// <param name="UnixMilliseconds">The wall clock, whole ms; meaningless if it was not synchronised.</param>
/// <param name="MonotonicMicroseconds">The monotonic clock, µs; <see cref="OfAnotherBoot"/> if it was of another
/// boot.</param>
/// <param name="IsSynchronised">Whether the wall clock was synchronised.</param>
internal readonly record struct Arrival(long UnixMilliseconds, long MonotonicMicroseconds, bool IsSynchronised)
{
    /// <summary>The host was started anew since: nothing can be told from its monotonic clock.</summary>
    public const long OfAnotherBoot = -1;
}
