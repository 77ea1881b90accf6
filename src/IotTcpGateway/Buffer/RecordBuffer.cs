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
/// The memory between ingest and forward: records in arrival order in native memory under a hard byte cap, without an
/// object per record, and the custody of each device's frames. Many may add, one takes and settles. Safe for several
/// threads; callbacks come outside its lock.
/// </summary>
internal sealed partial class RecordBuffer : IDisposable
{
    private readonly Lock gate = new();
    private readonly BufferOptions options;
    private readonly TimeProvider time;
    private readonly SlotTable<DeviceStream> streams = new();
    private readonly ChannelTables tables = new();
    private readonly Histogram<double> safeSeconds;
    private readonly Counter<long> droppedTotal;
    private RecordChunk? takeChunk;
    private int takeOffset;

    public RecordBuffer(BufferOptions options, TimeProvider time, Meter meter)
    {
        this.options = options;
        this.time = time;
        MemoryBytesMax = Math.Max(options.Memory / RecordChunk.Bytes, 2) * RecordChunk.Bytes;
        safeSeconds = meter.CreateHistogram<double>(
            "iotgw_frame_safe_seconds", "s", "Time from a frame's arrival to its being safe.");
        droppedTotal = meter.CreateCounter<long>("iotgw_buffer_dropped_total", null, "Records given up, by reason.");
        meter.CreateObservableGauge("iotgw_buffer_records", () => Records, null, "Records not yet confirmed.");
        meter.CreateObservableGauge(
            "iotgw_buffer_bytes",
            () => new Measurement<long>(MemoryBytes, new KeyValuePair<string, object?>("where", "memory")),
            null,
            "Bytes that unconfirmed records take.");
    }

    /// <summary>Devices that were told to wait may send again; called outside the lock.</summary>
    public event Action? Reopened;

    /// <summary>A record may be there to take; called outside the lock, must return at once.</summary>
    public event Action? Added;

    /// <summary>Records not yet confirmed or dropped.</summary>
    public long Records { get; private set; }

    /// <summary>Records given up since the start.</summary>
    public long DroppedRecords { get; private set; }

    /// <summary>Makes a stream; custody of what is added to it is kept until <see cref="Forget"/>.</summary>
    public DeviceStream Open(string deviceId, uint bootId)
    {
        lock (gate)
        {
            var stream = new DeviceStream(deviceId, bootId, streams.NextSlot);
            streams.Add(stream);
            return stream;
        }
    }

    /// <summary>Lets go of a stream; its records still go to the broker.</summary>
    public void Forget(DeviceStream stream)
    {
        lock (gate)
        {
            stream.IsForgotten = true;
            stream.Owner = null;
            stream.Dropped = null;
            if (stream.Outstanding == 0)
                streams.Remove(stream.Slot);
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
            stream.Dropped = null;
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
        long droppedBefore, dropped;
        lock (gate)
        {
            if (sequence <= stream.HighestTaken)
                throw new UnreachableException($"sequence {sequence} was taken before");
            droppedBefore = DroppedRecords;
            if (MakeRoomNeedsLock(body.Length, ref owners))
            {
                AppendNeedsLock(stream, sequence, channels, arrival, body);
                result = AddResult.Added;
            }
            else if (options.WhenFull == WhenFull.DropNewest)
            {
                DroppedRecords++;
                result = AddResult.Dropped;
            }
            else
            {
                isStarved = true;
                result = AddResult.Full;
            }

            dropped = DroppedRecords - droppedBefore;
        }

        if (result == AddResult.Added)
            Added?.Invoke();
        if (dropped > 0)
            CountDropped(dropped, DropReason.BufferFull);
        if (owners is not null)
        {
            foreach (IStreamOwner owner in owners)
                owner.Progressed();
        }

        if (result == AddResult.Added && options.Ack == AckPolicy.Memory)
            stream.Owner?.Progressed();
        return result;
    }

    /// <summary>The next record in arrival order that is neither with the forwarder nor settled.</summary>
    public bool TryTake(out BufferedRecord record)
    {
        lock (gate)
        {
            ShrinkIfDueNeedsLock();
            while (takeChunk is not null)
            {
                while (takeChunk.TryFind(ref takeOffset))
                {
                    int offset = takeOffset;
                    ref RecordHeader header = ref takeChunk.HeaderAt(offset);
                    takeOffset += RecordChunk.BytesOf(header.BodyBytes);
                    if ((header.Flags & (RecordFlags.Taken | RecordFlags.Settled)) != 0)
                        continue;
                    header.Flags |= RecordFlags.Taken;
                    takeChunk.InFlight++;
                    record = ViewNeedsLock(takeChunk, offset);
                    return true;
                }

                if (takeChunk.Next is null)
                    break;
                takeChunk = takeChunk.Next;
                takeOffset = 0;
            }

            record = default;
            return false;
        }
    }

    /// <summary>A record taken before, to publish it again.</summary>
    public BufferedRecord Read(RecordHandle handle)
    {
        lock (gate)
            return ViewNeedsLock(ChunkOf(handle.Value), OffsetOf(handle.Value));
    }

    /// <summary>The broker has confirmed every message of the record.</summary>
    public void Confirm(RecordHandle handle) => Settle(handle, drop: null);

    /// <summary>The record is given up; counted, and answered with NACK if it was not acknowledged.</summary>
    public void Drop(RecordHandle handle, DropReason reason) => Settle(handle, reason);

    /// <summary>The link was lost: everything unsettled is to be taken again, oldest first.</summary>
    public void Rewind()
    {
        TaskCompletionSource? room;
        lock (gate)
        {
            for (RecordChunk? chunk = first; chunk is not null; chunk = chunk.Next)
            {
                for (int offset = 0; chunk.TryFind(ref offset);)
                {
                    ref RecordHeader header = ref chunk.HeaderAt(offset);
                    header.Flags &= ~RecordFlags.Taken;
                    offset += RecordChunk.BytesOf(header.BodyBytes);
                }

                chunk.InFlight = 0;
            }

            takeChunk = first;
            takeOffset = 0;
            room = TakeRoomWaiterNeedsLock();
        }

        room?.TrySetResult();
    }

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

    private BufferedRecord ViewNeedsLock(RecordChunk chunk, int offset)
    {
        ref RecordHeader header = ref chunk.HeaderAt(offset);
        return new BufferedRecord
        {
            Handle = new RecordHandle(HandleOf(chunk, offset)),
            Stream = streams[header.StreamSlot],
            Sequence = header.Sequence,
            Channels = tables.At(header.TableSlot),
            Arrival = new Arrival(
                header.ArrivalUnixMilliseconds,
                header.ArrivalMicroseconds,
                (header.Flags & RecordFlags.Synchronised) != 0),
            Body = chunk.BodyAt(offset),
        };
    }

    private void AppendNeedsLock(
        DeviceStream stream, uint sequence, ChannelTable channels, in Arrival arrival, ReadOnlySpan<byte> body)
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
        long handle = HandleOf(last!, last!.Append(header, body));
        if (stream.LastRecord == DeviceStream.NoRecord)
            stream.FirstRecord = handle;
        else
            HeaderOf(stream.LastRecord).NextOfStream = handle;
        stream.LastRecord = handle;
        stream.HighestTaken = sequence;
        stream.Outstanding++;
        Records++;
        if (options.Ack == AckPolicy.Memory)
            stream.SafeSequence = sequence;
    }

    private void Settle(RecordHandle handle, DropReason? drop)
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
            seconds = time.GetElapsedTime(0).TotalSeconds - (header.ArrivalMicroseconds / 1e6);
            owner = SettleNeedsLock(chunk, ref header, drop);
            ShrinkIfDueNeedsLock();
            reopened = ReopenNeedsLock();
            // Drop-oldest needs a chunk without a record in flight; the others wait for the low mark.
            bool isWorthATry = options.WhenFull == WhenFull.DropOldest ? chunk.InFlight == 0 : !isClosed;
            room = isWorthATry ? TakeRoomWaiterNeedsLock() : null;
        }

        if (drop is { } reason)
            CountDropped(1, reason);
        else
            safeSeconds.Record(Math.Max(seconds, 0));
        owner?.Progressed();
        if (reopened)
            Reopened?.Invoke();
        room?.TrySetResult();
    }

    // Returns the owner if there is something to tell it. The chunk may be gone afterwards.
    private IStreamOwner? SettleNeedsLock(RecordChunk chunk, ref RecordHeader header, DropReason? drop)
    {
        DeviceStream stream = streams[header.StreamSlot];
        UnlinkNeedsLock(stream, ref header);
        tables.Release(header.TableSlot);
        chunk.Settle(ref header);
        stream.Outstanding--;
        Records--;
        if (drop is { } reason)
        {
            DroppedRecords++;
            if (stream.Owner is not null)
                (stream.Dropped ??= new()).Enqueue(new DroppedFrame(header.Sequence, reason));
        }

        bool hasAdvanced = AdvanceSafeNeedsLock(stream);
        if (stream is { IsForgotten: true, Outstanding: 0 })
            streams.Remove(stream.Slot);
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
        stream.SafeSequence = stream.FirstRecord == DeviceStream.NoRecord || options.Ack == AckPolicy.Memory
            ? stream.HighestTaken
            : HeaderOf(stream.FirstRecord).Sequence - 1;
        return stream.SafeSequence != before;
    }

    private void CountDropped(long records, DropReason reason) =>
        droppedTotal.Add(records, new KeyValuePair<string, object?>("reason", DropReasons.Word(reason)));
}
