namespace IotTcpGateway.Buffer;

/// <summary>Frames of one boot of one device, in order of their sequences: the unit of custody.</summary>
internal sealed class DeviceStream
{
    internal const long NoRecord = -1;

    internal DeviceStream(string deviceId, uint bootId, int slot)
    {
        DeviceId = deviceId;
        BootId = bootId;
        Slot = slot;
    }

    public string DeviceId { get; }

    public uint BootId { get; }

    /// <summary>Highest sequence taken; 0 for none.</summary>
    public uint HighestTaken { get; internal set; }

    /// <summary>Every frame taken, up to this sequence, is safe.</summary>
    public uint SafeSequence { get; internal set; }

    /// <summary>Records not yet settled.</summary>
    public int Outstanding { get; internal set; }

    /// <summary>Who is told of progress; the session that speaks for the device now.</summary>
    internal IStreamOwner? Owner { get; set; }

    internal int Slot { get; }

    internal long FirstRecord { get; set; } = NoRecord;

    internal long LastRecord { get; set; } = NoRecord;

    internal bool IsForgotten { get; set; }

    internal bool IsProgressQueued { get; set; }
}

/// <summary>Hears what became of a stream's frames. Called outside locks; must return at once.</summary>
internal interface IStreamOwner
{
    /// <summary>The safe sequence has advanced.</summary>
    void SafeAdvanced();

    /// <summary>A frame taken but not yet acknowledged was dropped; it must be answered with NACK.</summary>
    void FrameDropped(uint sequence, DropReason reason);
}

/// <summary>Why a record was given up.</summary>
internal enum DropReason
{
    /// <summary>The buffer was full.</summary>
    BufferFull,

    /// <summary>The broker refused it for good, or no payload can be made of it.</summary>
    Refused,
}
