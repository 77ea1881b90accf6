namespace IotTcpGateway.Buffer;

/// <summary>Frames of one boot of one device, in order of their sequences: the unit of custody.</summary>
internal sealed class DeviceStream
{
    internal const long NoRecord = -1;

    internal DeviceStream(string deviceId, uint bootId, int priority, int slot)
    {
        DeviceId = deviceId;
        BootId = bootId;
        Priority = priority;
        Slot = slot;
    }

    public string DeviceId { get; }

    public uint BootId { get; }

    /// <summary>1 to 3: what is 3 is dropped last.</summary>
    public int Priority { get; }

    /// <summary>Highest sequence taken; 0 for none.</summary>
    public uint HighestTaken { get; internal set; }

    /// <summary>Every frame taken, up to this sequence, is safe or was given up.</summary>
    public uint SafeSequence { get; internal set; }

    /// <summary>Records in memory not yet settled.</summary>
    public int Outstanding { get; internal set; }

    /// <summary>Who is told of progress; the session that speaks for the device now.</summary>
    internal IStreamOwner? Owner { get; set; }

    internal int Slot { get; }

    /// <summary>The oldest record that is neither settled nor on disk.</summary>
    internal long FirstRecord { get; set; } = NoRecord;

    /// <summary>The newest record that is neither settled nor on disk.</summary>
    internal long LastRecord { get; set; } = NoRecord;

    internal bool IsForgotten { get; set; }

    /// <summary>
    /// The first frame given up of which neither its device nor the ledger on disk knows; 0 for none. Nothing from it
    /// on is called safe.
    /// </summary>
    internal uint HeldFrom { get; set; }

    /// <summary>Whether the ledger is being made durable for it.</summary>
    internal bool IsHeldTaken { get; set; }

    /// <summary>Frames given up of which the owner was not told yet; fewer than the buffer has records.</summary>
    internal Queue<DroppedFrame>? Dropped { get; set; }
}

/// <summary>A frame that was given up, and why.</summary>
internal readonly record struct DroppedFrame(uint Sequence, DropReason Reason);

/// <summary>
/// Hears that there is something to tell a stream's device. Called outside locks; must return at once.
/// </summary>
internal interface IStreamOwner
{
    /// <summary>
    /// The safe sequence has advanced, or a frame was given up: see <see cref="RecordBuffer.TryTakeDropped"/>.
    /// </summary>
    void Progressed();
}
