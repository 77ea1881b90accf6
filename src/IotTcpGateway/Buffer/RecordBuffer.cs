using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace IotTcpGateway.Buffer;

/// <summary>What came of handing a frame to the buffer.</summary>
internal enum AddResult
{
    /// <summary>It is in memory and owed an ACK once safe.</summary>
    Added,

    /// <summary>There is no room; the frame stays with its session, which tries again when told of room.</summary>
    Full,

    /// <summary>
    /// There is no room and the policy drops what arrives. The caller owes NACK 7, and only then calls
    /// <see cref="RecordBuffer.SkipSequence"/>, so that no ACK covers the frame before it.
    /// </summary>
    Dropped,
}

/// <summary>
/// What lies between ingest and forward: records in arrival order in native memory under a hard byte cap, without an
/// object per record, on disk when the broker does not take them, and the custody of each device's frames. Many may
/// add, one takes and settles, one spills, one pages. Safe for several threads; callbacks come outside its lock.
/// </summary>
internal sealed partial class RecordBuffer : IDisposable
{
    private readonly Lock gate = new();
    private readonly BufferOptions options;
    private readonly TimeProvider time;
    private readonly SlotTable<DeviceStream> streams = new();
    private readonly Dictionary<(string DeviceId, uint BootId), DeviceStream> streamsByKey = [];
    private readonly ChannelTables tables = new();
    private readonly Histogram<double> safeSeconds;
    private readonly Counter<long> droppedTotal;

    public RecordBuffer(BufferOptions options, TimeProvider time, Meter meter)
    {
        this.options = options;
        this.time = time;
        MemoryBytesMax = Math.Max(options.Memory / RecordChunk.Bytes, 2) * RecordChunk.Bytes;
        // A backlog on disk must be readable even when arrivals have taken everything and can go nowhere.
        PageBytesMax = options.Disk > 0 ? Math.Max(MemoryBytesMax / RecordChunk.Bytes / 8, 1) * RecordChunk.Bytes : 0;
        safeSeconds = meter.CreateHistogram<double>(
            "iotgw_frame_safe_seconds", "s", "Time from a frame's arrival to its being safe.");
        droppedTotal = meter.CreateCounter<long>("iotgw_buffer_dropped_total", null, "Records given up, by reason.");
        meter.CreateObservableGauge("iotgw_buffer_records", () => Records, null, "Records not yet confirmed.");
        meter.CreateObservableGauge(
            "iotgw_buffer_bytes",
            () => (Measurement<long>[])[BytesIn("memory", MemoryBytes), BytesIn("disk", DiskBytes?.Invoke() ?? 0)],
            null,
            "Bytes that unconfirmed records take.");
    }

    /// <summary>Devices that were told to wait may send again; called outside the lock.</summary>
    public event Action? Reopened;

    /// <summary>A record may be there to take; called outside the lock, must return at once.</summary>
    public event Action? Added;

    /// <summary>Hears of every record given up: device, boot, sequence, why. Called under the lock.</summary>
    public Action<string, uint, uint, DropReason>? GivenUp { get; set; }

    /// <summary>Bytes that they take on disk.</summary>
    public Func<long>? DiskBytes { get; set; }

    /// <summary>Records not yet confirmed or dropped.</summary>
    public long Records { get; private set; }

    /// <summary>Records given up since the start.</summary>
    public long DroppedRecords { get; private set; }

    /// <summary>Makes a stream; custody of what is added to it is kept until <see cref="Forget"/>.</summary>
    public DeviceStream Open(string deviceId, uint bootId, int priority = 2)
    {
        lock (gate)
        {
            // One that was forgotten may still have records, in memory or on their way from disk.
            DeviceStream stream = streamsByKey.GetValueOrDefault((deviceId, bootId))
                ?? OpenNeedsLock(deviceId, bootId, priority);
            stream.IsForgotten = false;
            return stream;
        }
    }

    /// <summary>Opens the stream of a boot of which it is known that everything up to a sequence is safe.</summary>
    public DeviceStream Restore(string deviceId, uint bootId, int priority, uint safeSequence)
    {
        lock (gate)
        {
            // While there was no disk to ask, its device may have begun anew.
            if (streamsByKey.TryGetValue((deviceId, bootId), out DeviceStream? stream))
                return stream;
            stream = OpenNeedsLock(deviceId, bootId, priority);
            stream.HighestTaken = stream.SafeSequence = safeSequence;
            return stream;
        }
    }

    /// <summary>What is safe of every boot that is remembered.</summary>
    public List<CustodyEntry> Custody()
    {
        lock (gate)
        {
            return
            [
                .. streamsByKey.Values.Where(s => !s.IsForgotten && s.SafeSequence > 0)
                    .Select(s => new CustodyEntry(s.DeviceId, s.BootId, s.Priority, s.SafeSequence)),
            ];
        }
    }

    /// <summary>Lets go of a stream; its records still go to the broker.</summary>
    public void Forget(DeviceStream stream)
    {
        lock (gate)
        {
            stream.IsForgotten = true;
            stream.Owner = null;
            ForgetDroppedNeedsLock(stream);
            CloseIfDoneNeedsLock(stream);
        }
    }

    /// <summary>Who hears of the stream's progress from now on.</summary>
    public void SetOwner(DeviceStream stream, IStreamOwner owner)
    {
        lock (gate)
            stream.Owner = owner;
    }

    /// <summary>Ends an owner's interest, unless a newer one has taken its place.</summary>
    public void ReleaseOwner(DeviceStream stream, IStreamOwner owner)
    {
        lock (gate)
        {
            if (!ReferenceEquals(stream.Owner, owner))
                return;
            stream.Owner = null;
            ForgetDroppedNeedsLock(stream);
        }
    }

    /// <summary>Counts a frame that will not be forwarded as taken; its NACK is owed already.</summary>
    public void SkipSequence(DeviceStream stream, uint sequence)
    {
        lock (gate)
        {
            stream.HighestTaken = Math.Max(stream.HighestTaken, sequence);
            AdvanceSafeNeedsLock(stream);
        }
    }

    /// <summary>
    /// What the stream's device is to be told, at one moment: the next frame that was given up, or, when there is none,
    /// the safe sequence. An ACK of it, sent after the NACKs, covers no frame that was dropped untold.
    /// </summary>
    public bool TryTakeDropped(DeviceStream stream, out DroppedFrame dropped, out uint safe)
    {
        lock (gate)
        {
            safe = stream.SafeSequence;
            dropped = default;
            return stream.Dropped is not null && stream.Dropped.TryDequeue(out dropped);
        }
    }

    /// <summary>Takes custody of a DATA body that was checked.</summary>
    /// <param name="stream">The device's stream.</param>
    /// <param name="sequence">Above the stream's highest taken.</param>
    /// <param name="channels">The table it arrived under.</param>
    /// <param name="arrival">Both clocks at its last byte.</param>
    /// <param name="body">Copied.</param>
    public AddResult TryAdd(
        DeviceStream stream, uint sequence, ChannelTable channels, in Arrival arrival, ReadOnlySpan<byte> body)
    {
        List<IStreamOwner>? owners = null;
        AddResult result;
        long dropped;
        bool isAboveMark;
        lock (gate)
        {
            if (sequence <= stream.HighestTaken)
                throw new UnreachableException($"sequence {sequence} was taken before");
            long droppedBefore = DroppedRecords;
            Lane lane = LaneOf(stream);
            if (MakeRoomNeedsLock(lane, body.Length, ref owners))
            {
                AppendNeedsLock(lane, stream, sequence, channels, arrival, body);
                result = AddResult.Added;
            }
            else if (options.WhenFull == WhenFull.DropNewest)
            {
                DroppedRecords++;
                GivenUp?.Invoke(stream.DeviceId, stream.BootId, sequence, DropReason.BufferFull);
                result = AddResult.Dropped;
            }
            else
            {
                isStarved = true;
                result = AddResult.Full;
            }

            dropped = DroppedRecords - droppedBefore;
            isAboveMark = IsAboveMarkNeedsLock || dropped > 0;
        }

        if (result == AddResult.Added)
            Added?.Invoke();
        if (isAboveMark)
            SpillDue?.Invoke();
        if (dropped > 0)
            CountDropped(dropped, DropReason.BufferFull);
        Tell(owners);
        if (result == AddResult.Added && options.Ack == AckPolicy.Memory)
            stream.Owner?.Progressed();
        return result;
    }

    /// <summary>The broker has confirmed every message of the record. For the taker.</summary>
    public void Confirm(RecordHandle handle) => Settle(handle, drop: null, isTold: true);

    /// <summary>The record is given up; counted, and answered with NACK if it was not acknowledged.</summary>
    public void Drop(RecordHandle handle, DropReason reason) => Settle(handle, reason, isTold: true);

    /// <summary>
    /// Counts the memory of a connection's channel table; false if all tables together would take too much. The
    /// connection goes on with the table held, which is another one's if that says the same.
    /// </summary>
    public bool TryHold(ChannelTable table, long bytesMax, out ChannelTable held)
    {
        lock (gate)
        {
            ChannelTable? same = tables.FindSame(table);
            held = same ?? table;
            if (same is null && tables.Bytes + table.ApproximateBytes > bytesMax)
                return false;
            tables.Hold(held);
            return true;
        }
    }

    /// <summary>Ends what <see cref="TryHold"/> began.</summary>
    public void Unhold(ChannelTable table)
    {
        lock (gate)
        {
            int slot = tables.Hold(table);
            tables.Release(slot);
            tables.Release(slot);
        }
    }

    private DeviceStream OpenNeedsLock(string deviceId, uint bootId, int priority)
    {
        var stream = new DeviceStream(deviceId, bootId, priority, streams.NextSlot);
        streams.Add(stream);
        streamsByKey.Add((deviceId, bootId), stream);
        return stream;
    }

    private void CloseIfDoneNeedsLock(DeviceStream stream)
    {
        if (stream is not { IsForgotten: true, Outstanding: 0 })
            return;
        streams.Remove(stream.Slot);
        streamsByKey.Remove((stream.DeviceId, stream.BootId));
    }

    private void AppendNeedsLock(
        Lane lane,
        DeviceStream stream,
        uint sequence,
        ChannelTable channels,
        in Arrival arrival,
        ReadOnlySpan<byte> body)
    {
        var header = new RecordHeader
        {
            ArrivalUnixMilliseconds = arrival.UnixMilliseconds,
            ArrivalMicroseconds = arrival.MonotonicMicroseconds,
            NextOfStream = DeviceStream.NoRecord,
            PreviousOfStream = stream.LastRecord,
            Sequence = sequence,
            StreamSlot = stream.Slot,
            TableSlot = tables.Hold(channels),
            BodyBytes = checked((ushort)body.Length),
            Flags = arrival.IsSynchronised ? RecordFlags.Synchronised : RecordFlags.None,
        };
        RecordChunk last = lane.Last!;
        long handle = HandleOf(last, last.Append(header, body));
        if (stream.LastRecord == DeviceStream.NoRecord)
            stream.FirstRecord = handle;
        else
            HeaderOf(stream.LastRecord).NextOfStream = handle;
        stream.LastRecord = handle;
        stream.HighestTaken = sequence;
        stream.Outstanding++;
        lane.Records++;
        Records++;
        if (options.Ack == AckPolicy.Memory)
            stream.SafeSequence = sequence;
    }

    private void Settle(RecordHandle handle, DropReason? drop, bool isTold)
    {
        IStreamOwner? owner;
        TaskCompletionSource? room;
        bool reopened;
        double seconds;
        lock (gate)
        {
            RecordChunk chunk = ChunkOf(handle.Value);
            ref RecordHeader header = ref chunk.HeaderAt(OffsetOf(handle.Value));
            if ((header.Flags & RecordFlags.Settled) != 0)
                throw new UnreachableException($"record {handle.Value} was settled before");
            seconds = (header.Flags & RecordFlags.Synced) == 0 ? SecondsSince(header) : -1;
            owner = SettleNeedsLock(chunk, ref header, drop, isTold);
            // Others settle what is dropped; spans move on the taker's thread alone.
            if (drop is null)
                ShrinkIfDueNeedsLock();
            reopened = ReopenNeedsLock();
            // Drop-oldest needs a chunk without a record in flight; the others wait for the low mark.
            bool isWorthATry = options.WhenFull == WhenFull.DropOldest ? chunk.InFlight == 0 : !isClosed;
            room = isWorthATry ? TakeRoomWaiterNeedsLock() : null;
        }

        if (drop is { } reason)
            CountDropped(1, reason);
        else if (seconds >= 0)
            safeSeconds.Record(seconds);
        owner?.Progressed();
        if (reopened)
            Reopened?.Invoke();
        room?.TrySetResult();
    }

    // Returns the owner if there is something to tell it. The chunk may be gone afterwards.
    private IStreamOwner? SettleNeedsLock(RecordChunk chunk, ref RecordHeader header, DropReason? drop, bool isTold = true)
    {
        DeviceStream stream = streams[header.StreamSlot];
        Lane lane = chunk.Lane;
        bool isSynced = (header.Flags & RecordFlags.Synced) != 0;
        if (header.JournalId != 0)
            lane.Target!.Settled(header.JournalId);
        if (isSynced)
            lane.Synced--;
        else
            UnlinkNeedsLock(stream, ref header);
        tables.Release(header.TableSlot);
        chunk.Settle(ref header);
        stream.Outstanding--;
        lane.Records--;
        Records--;
        if (drop is { } reason)
        {
            DroppedRecords++;
            GivenUp?.Invoke(stream.DeviceId, stream.BootId, header.Sequence, reason);
            if (isTold && !isSynced)
                TellDropNeedsLock(stream, header.Sequence, reason);
        }

        bool hasAdvanced = AdvanceSafeNeedsLock(stream);
        CloseIfDoneNeedsLock(stream);
        ReleaseNeedsLock(chunk);
        return hasAdvanced || drop is not null ? stream.Owner : null;
    }

    private void UnlinkNeedsLock(DeviceStream stream, ref RecordHeader header)
    {
        if (header.PreviousOfStream == DeviceStream.NoRecord)
            stream.FirstRecord = header.NextOfStream;
        else
            HeaderOf(header.PreviousOfStream).NextOfStream = header.NextOfStream;
        if (header.NextOfStream == DeviceStream.NoRecord)
            stream.LastRecord = header.PreviousOfStream;
        else
            HeaderOf(header.NextOfStream).PreviousOfStream = header.PreviousOfStream;
    }

    private bool AdvanceSafeNeedsLock(DeviceStream stream)
    {
        uint before = stream.SafeSequence;
        uint safe = stream.FirstRecord == DeviceStream.NoRecord || options.Ack == AckPolicy.Memory
            ? stream.HighestTaken
            : HeaderOf(stream.FirstRecord).Sequence - 1;
        if (stream.HeldFrom != 0)
            safe = Math.Max(Math.Min(safe, stream.HeldFrom - 1), before);
        stream.SafeSequence = safe;
        return safe != before;
    }

    private double SecondsSince(in RecordHeader header) =>
        Math.Max(time.GetElapsedTime(0).TotalSeconds - (header.ArrivalMicroseconds / 1e6), 0);

    private void CountDropped(long records, DropReason reason) =>
        droppedTotal.Add(records, new KeyValuePair<string, object?>("reason", DropReasons.Word(reason)));

    private static Measurement<long> BytesIn(string where, long bytes) =>
        new(bytes, new KeyValuePair<string, object?>("where", where));

    private static void Tell(List<IStreamOwner>? owners)
    {
        if (owners is null)
            return;
        foreach (IStreamOwner owner in owners)
            owner.Progressed();
    }
}
