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

    /// <summary>There is no room and the policy drops what arrives: it is to be answered with NACK 7.</summary>
    Dropped,
}

/// <summary>
/// The memory between ingest and forward: records in arrival order in native memory under a hard byte cap, without an
/// object per record, and the custody of each device's frames. Safe for several threads; callbacks come outside its lock.
/// </summary>
internal sealed class RecordBuffer : IDisposable
{
    // Above the high mark devices are told to wait; what is between it and the cap takes the frames already on the way.
    private const int HighMarkPercent = 75;
    private const int LowMarkPercent = 50;

    private readonly Lock gate = new();
    private readonly BufferOptions options;
    private readonly TimeProvider time;
    private readonly long chunksMax;
    private readonly Dictionary<long, RecordChunk> chunks = [];
    private readonly SlotTable<DeviceStream> streams = new();
    private readonly ChannelTables tables = new();
    private readonly Histogram<double> safeSeconds;
    private readonly Counter<long> droppedTotal;
    private RecordChunk? first;
    private RecordChunk? last;
    private long nextChunkNumber;
    private RecordChunk? takeChunk;
    private int takeOffset;
    private bool isClosed;

    public RecordBuffer(BufferOptions options, TimeProvider time, Meter meter)
    {
        this.options = options;
        this.time = time;
        chunksMax = Math.Max(options.Memory / RecordChunk.Bytes, 2);
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

    /// <summary>There is room again after window 0; called outside the lock.</summary>
    public event Action? Reopened;

    /// <summary>A record may be there to take; called outside the lock, must return at once.</summary>
    public event Action? Added;

    /// <summary>Records not yet confirmed or dropped.</summary>
    public long Records { get; private set; }

    /// <summary>Records given up since the start.</summary>
    public long DroppedRecords { get; private set; }

    /// <summary>Bytes of memory taken, in whole chunks.</summary>
    public long MemoryBytes => Volatile.Read(ref chunkCount) * RecordChunk.Bytes;

    /// <summary>Most bytes of memory that it takes.</summary>
    public long MemoryBytesMax => chunksMax * RecordChunk.Bytes;

    /// <summary>Whether devices are told to wait.</summary>
    public bool IsFull => Volatile.Read(ref isClosed);

    private long chunkCount;

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
            if (stream.Outstanding == 0 && stream.FirstRecord == DeviceStream.NoRecord)
                streams.Remove(stream.Slot);
        }
    }

    /// <summary>Who hears of the stream's progress from now on; null for nobody.</summary>
    public void SetOwner(DeviceStream stream, IStreamOwner? owner)
    {
        lock (gate)
            stream.Owner = owner;
    }

    /// <summary>Ends an owner's interest, unless a newer one has taken its place.</summary>
    public void ReleaseOwner(DeviceStream stream, IStreamOwner owner)
    {
        lock (gate)
        {
            if (ReferenceEquals(stream.Owner, owner))
                stream.Owner = null;
        }
    }

    /// <summary>Counts a frame that will not be forwarded as taken: it is answered with NACK.</summary>
    public void SkipSequence(DeviceStream stream, uint sequence)
    {
        lock (gate)
        {
            stream.HighestTaken = Math.Max(stream.HighestTaken, sequence);
            AdvanceSafeNeedsLock(stream);
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
        List<(IStreamOwner Owner, uint Sequence)>? dropped = null;
        AddResult result;
        lock (gate)
        {
            if (sequence <= stream.HighestTaken)
                throw new UnreachableException($"sequence {sequence} was taken before");
            if (!MakeRoomNeedsLock(body.Length, ref dropped))
            {
                result = options.WhenFull == WhenFull.DropNewest ? AddResult.Dropped : AddResult.Full;
                if (result == AddResult.Dropped)
                {
                    stream.HighestTaken = sequence;
                    AdvanceSafeNeedsLock(stream);
                    CountDropNeedsLock(DropReason.BufferFull);
                }
            }
            else
            {
                AppendNeedsLock(stream, sequence, channels, arrival, body);
                result = AddResult.Added;
            }
        }

        if (result == AddResult.Added)
            Added?.Invoke();
        foreach ((IStreamOwner owner, uint number) in dropped ?? [])
        {
            owner.FrameDropped(number, DropReason.BufferFull);
        }

        if (result == AddResult.Added && options.Ack == AckPolicy.Memory)
            stream.Owner?.SafeAdvanced();
        return result;
    }

    /// <summary>How many DATA frames a device may have outstanding now; 0 while the buffer is full.</summary>
    /// <param name="windowMax">The listener's largest window.</param>
    /// <param name="sessions">Sessions that share the room.</param>
    public ushort WindowFor(int windowMax, int sessions)
    {
        if (options.WhenFull != WhenFull.Refuse)
            return (ushort)windowMax;
        if (IsFull)
            return 0;
        // Half of what is free is promised, at a generous frame size; at least 1 or nobody would move.
        long free = (chunksMax - Volatile.Read(ref chunkCount)) * RecordChunk.Bytes;
        long share = free / 2 / (256L * Math.Max(sessions, 1));
        return (ushort)Math.Clamp(share, 1, windowMax);
    }

    /// <summary>The next record in arrival order that is neither with the forwarder nor settled.</summary>
    public bool TryTake(out BufferedRecord record)
    {
        lock (gate)
        {
            while (takeChunk is not null)
            {
                while (takeOffset < takeChunk.Used)
                {
                    int offset = takeOffset;
                    ref RecordHeader header = ref takeChunk.HeaderAt(offset);
                    takeOffset += RecordChunk.BytesOf(header.BodyBytes);
                    if ((header.Flags & (RecordFlags.Taken | RecordFlags.Settled)) != 0)
                        continue;
                    header.Flags |= RecordFlags.Taken;
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
        {
            RecordChunk chunk = ChunkOf(handle);
            return ViewNeedsLock(chunk, OffsetOf(handle));
        }
    }

    /// <summary>The broker has confirmed every message of the record.</summary>
    public void Confirm(RecordHandle handle) => Settle(handle, drop: null);

    /// <summary>The record is given up; counted, and answered with NACK if it was not acknowledged.</summary>
    public void Drop(RecordHandle handle, DropReason reason) => Settle(handle, reason);

    /// <summary>The link was lost: everything unsettled is to be taken again, oldest first.</summary>
    public void Rewind()
    {
        lock (gate)
        {
            for (RecordChunk? chunk = first; chunk is not null; chunk = chunk.Next)
            {
                for (int offset = 0; offset < chunk.Used; offset += RecordChunk.BytesOf(chunk.HeaderAt(offset).BodyBytes))
                {
                    chunk.HeaderAt(offset).Flags &= ~RecordFlags.Taken;
                }
            }

            takeChunk = first;
            takeOffset = 0;
        }
    }

    /// <summary>Counts the memory of a connection's channel table; false if all tables together would take too much.</summary>
    public bool TryHold(ChannelTable table, long bytesMax)
    {
        lock (gate)
        {
            if (tables.Bytes + table.ApproximateBytes > bytesMax)
                return false;
            tables.Hold(table);
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

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (gate)
        {
            foreach (RecordChunk chunk in chunks.Values)
            {
                chunk.Dispose();
            }

            chunks.Clear();
            first = last = takeChunk = null;
        }
    }

    private static int OffsetOf(RecordHandle handle) => (int)(handle.Value & (RecordChunk.Bytes - 1));

    private RecordChunk ChunkOf(RecordHandle handle) => chunks[handle.Value >> RecordChunk.ShiftBits];

    private static long HandleOf(RecordChunk chunk, int offset) => (chunk.Number << RecordChunk.ShiftBits) | (uint)offset;

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

    private bool MakeRoomNeedsLock(int bodyBytes, ref List<(IStreamOwner, uint)>? dropped)
    {
        if (last is not null && last.HasRoomFor(bodyBytes))
            return true;
        while (chunkCount >= chunksMax)
        {
            if (options.WhenFull != WhenFull.DropOldest || !DropOldestChunkNeedsLock(ref dropped))
                return false;
        }

        RecordChunk? previous = last;
        var chunk = new RecordChunk(nextChunkNumber++) { Previous = previous };
        chunks.Add(chunk.Number, chunk);
        if (previous is null)
            first = chunk;
        else
            previous.Next = chunk;
        last = chunk;
        takeChunk ??= chunk;
        chunkCount++;
        if (previous is { Live: 0 })
            FreeNeedsLock(previous);
        if (chunkCount * 100 > chunksMax * HighMarkPercent)
            isClosed = true;
        return true;
    }

    private void AppendNeedsLock(
        DeviceStream stream, uint sequence, ChannelTable channels, in Arrival arrival, ReadOnlySpan<byte> body)
    {
        var header = new RecordHeader
        {
            ArrivalUnixMilliseconds = arrival.UnixMilliseconds,
            ArrivalMicroseconds = arrival.MonotonicMicroseconds,
            NextOfStream = DeviceStream.NoRecord,
            BodyBytes = body.Length,
            Sequence = sequence,
            StreamSlot = stream.Slot,
            TableSlot = tables.Hold(channels),
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

    private ref RecordHeader HeaderOf(long handle)
    {
        var typed = new RecordHandle(handle);
        return ref ChunkOf(typed).HeaderAt(OffsetOf(typed));
    }

    private void Settle(RecordHandle handle, DropReason? drop)
    {
        IStreamOwner? owner;
        bool reopened, advanced, nack;
        uint sequence;
        lock (gate)
        {
            ref RecordHeader header = ref HeaderOf(handle.Value);
            if ((header.Flags & RecordFlags.Settled) != 0)
                throw new UnreachableException($"record {handle.Value} was settled before");
            DeviceStream stream = streams[header.StreamSlot];
            owner = stream.Owner;
            sequence = header.Sequence;
            if (drop is null)
            {
                double micros = time.GetElapsedTime(0).TotalMicroseconds - header.ArrivalMicroseconds;
                safeSeconds.Record(Math.Max(micros, 0) / 1e6);
            }
            else
            {
                CountDropNeedsLock(drop.Value);
            }

            nack = drop is not null && sequence > stream.SafeSequence;
            advanced = SettleNeedsLock(ref header, stream);
            reopened = isClosed && chunkCount * 100 <= chunksMax * LowMarkPercent;
            if (reopened)
                isClosed = false;
        }

        if (nack)
            owner?.FrameDropped(sequence, drop!.Value);
        if (advanced)
            owner?.SafeAdvanced();
        if (reopened)
            Reopened?.Invoke();
    }

    private bool SettleNeedsLock(ref RecordHeader header, DeviceStream stream)
    {
        header.Flags |= RecordFlags.Settled;
        stream.Outstanding--;
        Records--;
        uint before = stream.SafeSequence;
        while (stream.FirstRecord != DeviceStream.NoRecord)
        {
            var handle = new RecordHandle(stream.FirstRecord);
            RecordChunk chunk = ChunkOf(handle);
            ref RecordHeader head = ref chunk.HeaderAt(OffsetOf(handle));
            if ((head.Flags & RecordFlags.Settled) == 0)
                break;
            stream.FirstRecord = head.NextOfStream;
            tables.Release(head.TableSlot);
            ReleaseNeedsLock(chunk);
        }

        if (stream.FirstRecord == DeviceStream.NoRecord)
        {
            stream.LastRecord = DeviceStream.NoRecord;
            if (stream.IsForgotten)
                streams.Remove(stream.Slot);
        }

        AdvanceSafeNeedsLock(stream);
        return stream.SafeSequence != before;
    }

    private void AdvanceSafeNeedsLock(DeviceStream stream)
    {
        uint safe = stream.FirstRecord == DeviceStream.NoRecord || options.Ack == AckPolicy.Memory
            ? stream.HighestTaken
            : HeaderOf(stream.FirstRecord).Sequence - 1;
        stream.SafeSequence = Math.Max(stream.SafeSequence, safe);
    }

    private void ReleaseNeedsLock(RecordChunk chunk)
    {
        // The last chunk is kept for what comes next.
        if (--chunk.Live == 0 && chunk != last)
            FreeNeedsLock(chunk);
    }

    private void FreeNeedsLock(RecordChunk chunk)
    {
        if (takeChunk == chunk)
        {
            takeChunk = chunk.Next;
            takeOffset = 0;
        }

        if (chunk.Previous is null)
            first = chunk.Next;
        else
            chunk.Previous.Next = chunk.Next;
        if (chunk.Next is null)
            last = chunk.Previous;
        else
            chunk.Next.Previous = chunk.Previous;
        chunks.Remove(chunk.Number);
        chunk.Dispose();
        chunkCount--;
    }

    // Memory comes back in whole chunks, so the oldest chunk with a record that is not in flight is emptied of such.
    private bool DropOldestChunkNeedsLock(ref List<(IStreamOwner, uint)>? dropped)
    {
        long before = chunkCount;
        for (RecordChunk? chunk = first; chunk is not null && chunkCount == before;)
        {
            RecordChunk? next = chunk.Next;
            int offset = 0;
            int used = chunk.Used;
            while (offset < used && chunkCount == before)
            {
                ref RecordHeader header = ref chunk.HeaderAt(offset);
                offset += RecordChunk.BytesOf(header.BodyBytes);
                if ((header.Flags & (RecordFlags.Taken | RecordFlags.Settled)) != 0)
                    continue;
                DeviceStream stream = streams[header.StreamSlot];
                if (stream.Owner is { } owner && header.Sequence > stream.SafeSequence)
                    (dropped ??= []).Add((owner, header.Sequence));
                CountDropNeedsLock(DropReason.BufferFull);
                SettleNeedsLock(ref header, stream);
            }

            chunk = next;
        }

        return chunkCount < before;
    }

    private void CountDropNeedsLock(DropReason reason)
    {
        DroppedRecords++;
        droppedTotal.Add(1, new KeyValuePair<string, object?>(
            "reason", reason == DropReason.BufferFull ? "buffer-full" : "refused"));
    }
}
