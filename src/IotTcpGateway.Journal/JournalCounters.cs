namespace IotTcpGateway.Journal;

/// <summary>What the journal has done since it was opened. Written by the writing thread; others may read it.</summary>
public sealed class JournalCounters
{
    private long recordsSynced;
    private long payloadBytesSynced;
    private long recordBytesWritten;
    private long preallocatedBytes;
    private long otherBytesWritten;
    private long syncs;
    private long failedSyncs;
    private long segmentsBegun;
    private long segmentsSetAside;

    /// <summary>Records that are synced.</summary>
    public long RecordsSynced => Volatile.Read(ref recordsSynced);

    /// <summary>Payload bytes of these.</summary>
    public long PayloadBytesSynced => Volatile.Read(ref payloadBytesSynced);

    /// <summary>Bytes of records given to the disk, with headers and padding, again if written again.</summary>
    public long RecordBytesWritten => Volatile.Read(ref recordBytesWritten);

    /// <summary>Zeros written ahead of the records, and as reserve.</summary>
    public long PreallocatedBytes => Volatile.Read(ref preallocatedBytes);

    /// <summary>Segment headers, cursor slots and broken copies.</summary>
    public long OtherBytesWritten => Volatile.Read(ref otherBytesWritten);

    /// <summary>Syncs of files and of the directory.</summary>
    public long Syncs => Volatile.Read(ref syncs);

    /// <summary>Of these, the failed ones.</summary>
    public long FailedSyncs => Volatile.Read(ref failedSyncs);

    /// <summary>Segments begun.</summary>
    public long SegmentsBegun => Volatile.Read(ref segmentsBegun);

    /// <summary>Segments set aside because a write or a sync failed.</summary>
    public long SegmentsSetAside => Volatile.Read(ref segmentsSetAside);

    internal void CountSynced(int records, long payloadBytes)
    {
        Volatile.Write(ref recordsSynced, recordsSynced + records);
        Volatile.Write(ref payloadBytesSynced, payloadBytesSynced + payloadBytes);
    }

    internal void CountRecordBytes(long bytes) => Volatile.Write(ref recordBytesWritten, recordBytesWritten + bytes);

    internal void CountPreallocated(long bytes) => Volatile.Write(ref preallocatedBytes, preallocatedBytes + bytes);

    internal void CountOther(long bytes) => Volatile.Write(ref otherBytesWritten, otherBytesWritten + bytes);

    internal void CountSegment() => Volatile.Write(ref segmentsBegun, segmentsBegun + 1);

    internal void CountSetAside() => Volatile.Write(ref segmentsSetAside, segmentsSetAside + 1);

    /// <summary>Counts a sync and hands its outcome on.</summary>
    internal DiskError CountSync(DiskError outcome)
    {
        Volatile.Write(ref syncs, syncs + 1);
        if (!outcome.IsNone)
            Volatile.Write(ref failedSyncs, failedSyncs + 1);
        return outcome;
    }
}
