using System.Diagnostics.Metrics;

using IotTcpGateway.Buffer;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

public sealed class RecordBufferTests : IDisposable
{
    private const int ChunkBytes = RecordChunk.Bytes;
    private readonly Meter meter = new("test");
    private readonly List<RecordBuffer> buffers = [];

    [Fact]
    public void Confirm_OutOfOrder_SafeStopsBelowTheFirstUnsettled()
    {
        RecordBuffer buffer = Make();
        DeviceStream stream = buffer.Open("d", 1);
        Add(buffer, stream, 1, 2, 5);
        RecordHandle[] taken = TakeAll(buffer);

        buffer.Confirm(taken[1]);
        Assert.Equal(0u, stream.SafeSequence);
        buffer.Confirm(taken[0]);
        Assert.Equal(4u, stream.SafeSequence);
        buffer.Confirm(taken[2]);
        Assert.Equal(5u, stream.SafeSequence);
        Assert.Equal(0, buffer.Records);
    }

    [Fact]
    public void Confirm_Twice_IsABrokenInvariant()
    {
        RecordBuffer buffer = Make();
        Add(buffer, buffer.Open("d", 1), 1);
        RecordHandle taken = Assert.Single(TakeAll(buffer));
        buffer.Confirm(taken);
        Assert.ThrowsAny<Exception>(() => buffer.Confirm(taken));
        Assert.Equal(0, buffer.Records);
    }

    [Fact]
    public void Confirm_HeadOfTheStreamInFlight_MemoryOfLaterRecordsComesBack()
    {
        RecordBuffer buffer = Make(chunks: 10);
        DeviceStream stream = buffer.Open("d", 1);
        for (uint sequence = 1; sequence <= 20; sequence++)
            Assert.Equal(AddResult.Added, AddOne(buffer, stream, sequence, 16_000));
        RecordHandle[] taken = TakeAll(buffer);
        Assert.Equal(5 * ChunkBytes, buffer.MemoryBytes);

        foreach (RecordHandle handle in taken[1..])
            buffer.Confirm(handle);
        Assert.Equal(0u, stream.SafeSequence);
        Assert.Equal(2 * ChunkBytes, buffer.MemoryBytes);
    }

    [Fact]
    public void TryAdd_DropOldestWithTheStreamsHeadInFlight_DropsOneChunkAndNoMore()
    {
        RecordBuffer buffer = Make(chunks: 4, whenFull: WhenFull.DropOldest);
        DeviceStream stream = buffer.Open("d", 1);
        var owner = new Owner();
        buffer.SetOwner(stream, owner);
        for (uint sequence = 1; sequence <= 16; sequence++)
            AddOne(buffer, stream, sequence, 16_000);
        Assert.True(buffer.TryTake(out BufferedRecord head));
        Assert.Equal(1u, head.Sequence);

        Assert.Equal(AddResult.Added, AddOne(buffer, stream, 17, 16_000));
        Assert.Equal(4, buffer.DroppedRecords);
        Assert.Equal([5u, 6u, 7u, 8u], Dropped(buffer, stream));
        Assert.Equal(4 * ChunkBytes, buffer.MemoryBytes);
        Assert.True(owner.Told > 0);
        Assert.Equal(0u, stream.SafeSequence);
    }

    [Fact]
    public void TryAdd_DropOldestWithEverythingInFlight_DropsNothingAndWaitsUntilTheLinkIsLost()
    {
        RecordBuffer buffer = Make(chunks: 2, whenFull: WhenFull.DropOldest);
        DeviceStream stream = buffer.Open("d", 1);
        for (uint sequence = 1; sequence <= 8; sequence++)
            AddOne(buffer, stream, sequence, 16_000);
        TakeAll(buffer);

        Assert.Equal(AddResult.Full, AddOne(buffer, stream, 9, 16_000));
        Assert.Equal(0, buffer.DroppedRecords);
        Task room = buffer.RoomAsync();
        Assert.False(room.IsCompleted);
        buffer.Rewind();
        Assert.True(room.IsCompleted);
        Assert.Equal(AddResult.Added, AddOne(buffer, stream, 9, 16_000));
        Assert.Equal(4, buffer.DroppedRecords);
    }

    [Fact]
    public void RoomAsync_RoomCameBeforeTheWait_CompletesAtOnce()
    {
        RecordBuffer buffer = Make(chunks: 2, whenFull: WhenFull.DropOldest);
        DeviceStream stream = buffer.Open("d", 1);
        for (uint sequence = 1; sequence <= 8; sequence++)
            AddOne(buffer, stream, sequence, 16_000);
        TakeAll(buffer);
        Assert.Equal(AddResult.Full, AddOne(buffer, stream, 9, 16_000));
        buffer.Rewind();
        Assert.True(buffer.RoomAsync().IsCompleted);
    }

    [Fact]
    public void TryAdd_DropNewest_SequenceCountsOnlyAfterItsNackIsOwed()
    {
        RecordBuffer buffer = Make(chunks: 2, whenFull: WhenFull.DropNewest);
        DeviceStream stream = buffer.Open("d", 1);
        for (uint sequence = 1; sequence <= 8; sequence++)
            AddOne(buffer, stream, sequence, 16_000);
        foreach (RecordHandle handle in TakeAll(buffer))
            buffer.Confirm(handle);
        for (uint sequence = 9; sequence <= 16; sequence++)
            Assert.Equal(AddResult.Added, AddOne(buffer, stream, sequence, 16_000));
        Assert.Equal(AddResult.Dropped, AddOne(buffer, stream, 17, 16_000));
        Assert.Equal(1, buffer.DroppedRecords);
        Assert.Equal(16u, stream.HighestTaken);
        buffer.SkipSequence(stream, 17);
        Assert.Equal(17u, stream.HighestTaken);
        Assert.Equal(8u, stream.SafeSequence);
    }

    [Fact]
    public void Drop_OfAFrame_IsToldBeforeTheSafeSequenceThatCoversIt()
    {
        RecordBuffer buffer = Make();
        DeviceStream stream = buffer.Open("d", 1);
        buffer.SetOwner(stream, new Owner());
        Add(buffer, stream, 1, 2);
        RecordHandle[] taken = TakeAll(buffer);
        buffer.Confirm(taken[0]);
        buffer.Drop(taken[1], DropReason.Refused);

        Assert.True(buffer.TryTakeDropped(stream, out DroppedFrame dropped, out _));
        Assert.Equal(new DroppedFrame(2, DropReason.Refused), dropped);
        Assert.False(buffer.TryTakeDropped(stream, out _, out uint safe));
        Assert.Equal(2u, safe);
        Assert.Equal(1, buffer.DroppedRecords);
    }

    [Fact]
    public void IsFull_HighAndLowMark_ClosesAboveTheOneAndReopensAtTheOther()
    {
        RecordBuffer buffer = Make(chunks: 8);
        DeviceStream stream = buffer.Open("d", 1);
        int reopened = 0;
        buffer.Reopened += () => reopened++;
        uint sequence = 0;
        while (!buffer.IsFull)
            AddOne(buffer, stream, ++sequence, 16_000);
        Assert.Equal(7 * ChunkBytes, buffer.MemoryBytes);
        Assert.Equal(0, buffer.WindowFor(64, 1));

        foreach (RecordHandle handle in TakeAll(buffer))
        {
            bool wasFull = buffer.IsFull;
            buffer.Confirm(handle);
            Assert.Equal(wasFull && !buffer.IsFull ? 1 : 0, reopened - (wasFull ? 0 : 1));
            if (wasFull && !buffer.IsFull)
                Assert.Equal(4 * ChunkBytes, buffer.MemoryBytes);
        }

        Assert.Equal(1, reopened);
        Assert.True(buffer.WindowFor(64, 1) > 0);
    }

    [Fact]
    public void TryAdd_FramesOnTheWayAfterClosing_AreTakenUpToTheCap()
    {
        RecordBuffer buffer = Make(chunks: 8);
        DeviceStream stream = buffer.Open("d", 1);
        uint sequence = 0;
        while (AddOne(buffer, stream, ++sequence, 16_000) == AddResult.Added)
            Assert.True(buffer.MemoryBytes <= buffer.MemoryBytesMax);
        Assert.True(buffer.IsFull);
        Assert.Equal(33u, sequence);
        Assert.Equal(buffer.MemoryBytesMax, buffer.MemoryBytes);
        Assert.False(buffer.RoomAsync().IsCompleted);
    }

    [Theory]
    [InlineData(1, 64)]
    [InlineData(1_000, 2)]
    [InlineData(100_000, 1)]
    public void WindowFor_ManySessions_PromisesHalfOfWhatIsFree(int sessions, int expected) =>
        Assert.Equal(expected, Make(chunks: 16).WindowFor(64, sessions));

    [Fact]
    public void Settle_FewRecordsOfABlockedDeviceLeft_DoNotHoldTheMemoryOfMany()
    {
        RecordBuffer buffer = Make(chunks: 16);
        DeviceStream blocked = buffer.Open("blocked", 1), busy = buffer.Open("busy", 1);
        List<RecordHandle> held = [];
        uint ofBusy = 0;
        // A frame of a device whose messages the broker refuses for now, among many that it takes.
        for (uint round = 1; round <= 200; round++)
        {
            Assert.Equal(AddResult.Added, AddOne(buffer, blocked, round, 100, (byte)round));
            for (int i = 0; i < 5; i++)
                Assert.Equal(AddResult.Added, AddOne(buffer, busy, ++ofBusy, 16_000));
            while (buffer.TryTake(out BufferedRecord record))
            {
                RecordHandle handle = record.Handle;
                if (record.Stream == blocked)
                    held.Add(handle);
                else
                    buffer.Confirm(handle);
            }
        }

        Assert.Equal(200, held.Count);
        Assert.Equal(200, buffer.Records);
        for (int i = 0; i < held.Count; i++)
        {
            BufferedRecord record = buffer.Read(held[i]);
            Assert.Equal((uint)i + 1, record.Sequence);
            Assert.Equal((byte)(i + 1), record.Body[99]);
            Assert.Equal(100, record.Body.Length);
        }

        buffer.Rewind();
        for (uint sequence = 1; sequence <= 200; sequence++)
        {
            Assert.True(buffer.TryTake(out BufferedRecord record));
            Assert.Equal(sequence, record.Sequence);
            buffer.Confirm(record.Handle);
        }

        Assert.Equal(200u, blocked.SafeSequence);
        Assert.True(buffer.MemoryBytes <= ChunkBytes);
    }

    [Fact]
    public void TryAdd_AckMemory_IsSafeAtOnce()
    {
        RecordBuffer buffer = Make(ack: AckPolicy.Memory);
        DeviceStream stream = buffer.Open("d", 1);
        var owner = new Owner();
        buffer.SetOwner(stream, owner);
        Add(buffer, stream, 1);
        Assert.Equal(1u, stream.SafeSequence);
        Assert.Equal(1, owner.Told);
    }

    [Fact]
    public void Forget_WithRecords_TheyStillGoToTheBroker()
    {
        RecordBuffer buffer = Make();
        DeviceStream stream = buffer.Open("d", 1);
        Add(buffer, stream, 1, 2);
        buffer.Forget(stream);
        DeviceStream other = buffer.Open("e", 1);
        Add(buffer, other, 1);
        RecordHandle[] taken = TakeAll(buffer);
        Assert.Equal(3, taken.Length);
        Assert.Equal("d", buffer.Read(taken[0]).Stream.DeviceId);
        foreach (RecordHandle handle in taken)
            buffer.Confirm(handle);
        Assert.Equal(0, buffer.Records);
    }

    [Fact]
    public void ReleaseOwner_OfAnOlderOwner_LeavesTheNewer()
    {
        RecordBuffer buffer = Make();
        DeviceStream stream = buffer.Open("d", 1);
        Owner older = new(), newer = new();
        buffer.SetOwner(stream, older);
        buffer.SetOwner(stream, newer);
        buffer.ReleaseOwner(stream, older);
        Add(buffer, stream, 1);
        buffer.Confirm(Assert.Single(TakeAll(buffer)));
        Assert.Equal((0, 1), (older.Told, newer.Told));
    }

    [Fact]
    public void TryHold_OverTheLimit_IsRefusedUntilTheLastRecordUnderATableIsSettled()
    {
        RecordBuffer buffer = Make();
        DeviceStream stream = buffer.Open("d", 1);
        ChannelTable one = Table("a"), two = Table("b");
        long limit = one.ApproximateBytes + ChannelTable.Empty.ApproximateBytes;
        Assert.True(buffer.TryHold(one, limit, out _));
        Assert.Equal(AddResult.Added, buffer.TryAdd(stream, 1, one, default, [1]));
        buffer.Unhold(one);
        Assert.False(buffer.TryHold(two, limit, out _));
        Assert.True(buffer.TryTake(out BufferedRecord record));
        Assert.Equal("a", record.Channels.Find(1)!.Name);
        buffer.Confirm(record.Handle);
        Assert.True(buffer.TryHold(two, limit, out _));
    }

    [Fact]
    public void TryHold_TablesThatSayTheSame_AreOneAndCountOnce()
    {
        RecordBuffer buffer = Make();
        ChannelTable first = Table("a"), second = Table("a"), other = Table("b");
        long limit = first.ApproximateBytes + ChannelTable.Empty.ApproximateBytes;
        Assert.True(buffer.TryHold(first, limit, out ChannelTable held));
        Assert.Same(first, held);
        Assert.True(buffer.TryHold(second, limit, out held));
        Assert.Same(first, held);
        // It stays until the last of those who share it lets go.
        buffer.Unhold(held);
        Assert.False(buffer.TryHold(other, limit, out _));
        buffer.Unhold(held);
        Assert.True(buffer.TryHold(other, limit, out held));
        Assert.Same(other, held);
    }

    // The spiller drops too, while the forwarder encodes what it has taken.
    [Fact]
    public void Drop_WhenChunksCouldShrink_MovesNothingBeforeTheTakersNextCall()
    {
        RecordBuffer buffer = Make();
        DeviceStream stream = buffer.Open("d", 1);
        uint sequence = 0;
        while (AddOne(buffer, stream, ++sequence, 1_000, fill: 7) == AddResult.Added)
        {
        }

        RecordHandle[] taken = TakeAll(buffer);
        ReadOnlySpan<byte> body = buffer.Read(taken[0]).Body;
        long memory = buffer.MemoryBytes;
        foreach (RecordHandle handle in taken.Skip(1).Take(50))
            buffer.Drop(handle, DropReason.Refused);
        Assert.Equal(memory, buffer.MemoryBytes);
        Assert.False(body.ContainsAnyExcept((byte)7));

        Assert.False(buffer.TryTake(out _));
        Assert.InRange(buffer.MemoryBytes, 1, memory - (ChunkBytes / 2));
    }

    [Fact]
    public void AddTakeConfirm_OnTheSteadyPath_AllocatesNothing()
    {
        RecordBuffer buffer = Make(chunks: 8);
        DeviceStream stream = buffer.Open("d", 1);
        byte[] body = new byte[64];
        uint sequence = 0;
        Run(5_000);
        // A collection meanwhile, by another test, counts 8 KiB to whoever it meets: what is allocated shows every time.
        long allocated = Enumerable.Range(0, 3).Min(_ => AllocatedIn(5_000));
        // A chunk's object and its place in the dictionary per 500 records and more.
        Assert.True(allocated < 5_000, $"{allocated} bytes for 5 000 records");

        long AllocatedIn(int records)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            Run(records);
            return GC.GetAllocatedBytesForCurrentThread() - before;
        }

        void Run(int records)
        {
            for (int i = 0; i < records; i++)
            {
                buffer.TryAdd(stream, ++sequence, ChannelTable.Empty, default, body);
                buffer.TryTake(out BufferedRecord record);
                buffer.Confirm(record.Handle);
            }
        }
    }

    public void Dispose()
    {
        foreach (RecordBuffer buffer in buffers)
            buffer.Dispose();
        meter.Dispose();
    }

    private static ChannelTable Table(string name) =>
        ChannelTable.Empty.With([new Channel(1, Protocol.DataType.I32, name, "")]);

    private static AddResult AddOne(RecordBuffer buffer, DeviceStream stream, uint sequence, int bytes, byte fill = 0)
    {
        byte[] body = new byte[bytes];
        body.AsSpan().Fill(fill);
        return buffer.TryAdd(stream, sequence, ChannelTable.Empty, default, body);
    }

    private static void Add(RecordBuffer buffer, DeviceStream stream, params uint[] sequences)
    {
        foreach (uint sequence in sequences)
            Assert.Equal(AddResult.Added, AddOne(buffer, stream, sequence, 10));
    }

    private static RecordHandle[] TakeAll(RecordBuffer buffer)
    {
        List<RecordHandle> taken = [];
        while (buffer.TryTake(out BufferedRecord record))
            taken.Add(record.Handle);
        return [.. taken];
    }

    private static List<uint> Dropped(RecordBuffer buffer, DeviceStream stream)
    {
        List<uint> sequences = [];
        while (buffer.TryTakeDropped(stream, out DroppedFrame dropped, out _))
            sequences.Add(dropped.Sequence);
        return sequences;
    }

    private RecordBuffer Make(
        int chunks = 4, WhenFull whenFull = WhenFull.Refuse, AckPolicy ack = AckPolicy.Safe)
    {
        var options = new BufferOptions { Memory = chunks * (long)ChunkBytes, Disk = 0, WhenFull = whenFull, Ack = ack };
        var buffer = new RecordBuffer(options, new FakeTimeProvider(), meter);
        buffers.Add(buffer);
        return buffer;
    }

    private sealed class Owner : IStreamOwner
    {
        public int Told { get; private set; }

        public void Progressed() => Told++;
    }
}
