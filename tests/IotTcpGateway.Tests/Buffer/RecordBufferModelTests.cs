using System.Diagnostics.Metrics;

using CsCheck;

using IotTcpGateway.Buffer;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>
/// The buffer against a list of records: whatever is done to it, in whatever order, nothing is lost or told too early.
/// </summary>
public class RecordBufferModelTests
{
    private static readonly int[] BodyBytes = [1, 100, 4_000, 16_384];

    private static readonly Gen<(int What, int A, int B)[]> Operations =
        Gen.Select(Gen.Int[0, 99], Gen.Int[0, 1_000], Gen.Int[0, 1_000]).Array[1, 300];

    [Theory]
    [InlineData("Refuse", "Safe")]
    [InlineData("DropOldest", "Safe")]
    [InlineData("DropNewest", "Safe")]
    [InlineData("Refuse", "Memory")]
    [InlineData("DropOldest", "Memory")]
    public void AnyOperations_InAnyOrder_KeepEveryPromise(string whenFull, string ack) =>
        Operations.Sample(
            operations =>
            {
                using var world = new World(Enum.Parse<WhenFull>(whenFull), Enum.Parse<AckPolicy>(ack));
                foreach ((int what, int a, int b) in operations)
                    world.Do(what, a, b);
                world.Drain();
            },
            iter: 300);

    private enum Fate
    {
        Waits,
        IsTaken,
        IsConfirmed,
        IsDropped,
    }

    private sealed class Record
    {
        public required DeviceStream Stream { get; init; }

        public required uint Sequence { get; init; }

        public required byte[] Body { get; init; }

        public Fate Fate { get; set; }

        public RecordHandle Handle { get; set; }

        public bool IsSettled => Fate is Fate.IsConfirmed or Fate.IsDropped;
    }

    private sealed class World : IDisposable, IStreamOwner
    {
        private readonly Meter meter = new("model");
        private readonly RecordBuffer buffer;
        private readonly WhenFull whenFull;
        private readonly AckPolicy ack;
        private readonly List<Record> records = [];
        private readonly DeviceStream[] streams;
        private readonly HashSet<DeviceStream> all = [];
        private long dropped;

        public World(WhenFull whenFull, AckPolicy ack)
        {
            this.whenFull = whenFull;
            this.ack = ack;
            var options = new BufferOptions { Memory = 4 * RecordChunk.Bytes, Disk = 0, WhenFull = whenFull, Ack = ack };
            buffer = new RecordBuffer(options, new FakeTimeProvider(), meter);
            streams = [.. Enumerable.Range(0, 4).Select(i => Open(i, 1))];
        }

        public void Progressed()
        {
            // The model looks after every operation.
        }

        public void Do(int what, int a, int b)
        {
            switch (what)
            {
                case < 45:
                    Add(streams[a % streams.Length], b);
                    break;
                case < 65:
                    Take();
                    break;
                case < 82:
                    Settle(a, Fate.IsConfirmed);
                    break;
                case < 87:
                    Settle(a, Fate.IsDropped);
                    break;
                case < 90:
                    buffer.Rewind();
                    foreach (Record record in records.Where(r => r.Fate == Fate.IsTaken))
                        record.Fate = Fate.Waits;
                    break;
                case < 95:
                    buffer.SkipSequence(streams[a % streams.Length], streams[a % streams.Length].HighestTaken + 1);
                    break;
                // What drop-oldest takes from a forgotten stream is told to nobody, so the model could not follow.
                case < 97 when whenFull != WhenFull.DropOldest:
                    Forget(a % streams.Length);
                    break;
                default:
                    ReadOne(a);
                    break;
            }

            Check();
        }

        public void Drain()
        {
            buffer.Rewind();
            foreach (Record record in records.Where(r => r.Fate == Fate.IsTaken))
                record.Fate = Fate.Waits;
            while (Take())
            {
            }

            while (Settle(0, Fate.IsConfirmed))
                Check();
            Check();
            Assert.All(records, r => Assert.True(r.IsSettled));
            Assert.Equal(0, buffer.Records);
            Assert.True(buffer.MemoryBytes <= RecordChunk.Bytes, $"{buffer.MemoryBytes} bytes of nothing");
            Assert.All(all, s => Assert.Equal(s.HighestTaken, s.SafeSequence));
            Assert.True(buffer.RoomAsync().IsCompleted || whenFull == WhenFull.DropNewest);
        }

        public void Dispose()
        {
            buffer.Dispose();
            meter.Dispose();
        }

        private DeviceStream Open(int device, uint boot)
        {
            DeviceStream stream = buffer.Open($"d{device}", boot);
            buffer.SetOwner(stream, this);
            all.Add(stream);
            return stream;
        }

        private void Forget(int index)
        {
            DeviceStream old = streams[index];
            buffer.Forget(old);
            streams[index] = Open(index, old.BootId + 1);
        }

        private void Add(DeviceStream stream, int choice)
        {
            uint sequence = stream.HighestTaken + 1 + (uint)(choice % 10 == 0 ? 3 : 0);
            byte[] body = new byte[BodyBytes[choice % BodyBytes.Length]];
            body.AsSpan().Fill((byte)choice);
            AddResult result = buffer.TryAdd(stream, sequence, ChannelTable.Empty, default, body);
            switch (result)
            {
                case AddResult.Added:
                    records.Add(new Record { Stream = stream, Sequence = sequence, Body = body });
                    break;
                case AddResult.Dropped:
                    Assert.Equal(WhenFull.DropNewest, whenFull);
                    Assert.True(stream.SafeSequence < sequence);
                    dropped++;
                    buffer.SkipSequence(stream, sequence);
                    break;
                default:
                    Assert.NotEqual(WhenFull.DropNewest, whenFull);
                    // Drop-oldest gives up only before what is in flight.
                    Assert.True(whenFull == WhenFull.Refuse || records.Any(r => r.Fate == Fate.IsTaken));
                    break;
            }

            TakeDropped();
        }

        private void TakeDropped()
        {
            foreach (DeviceStream stream in all)
            {
                while (buffer.TryTakeDropped(stream, out DroppedFrame frame, out _))
                {
                    if (frame.Reason == DropReason.Refused)
                        continue;
                    Record record = Assert.Single(
                        records, r => r.Stream == stream && r.Sequence == frame.Sequence && !r.IsSettled);
                    Assert.Equal(Fate.Waits, record.Fate);
                    record.Fate = Fate.IsDropped;
                    dropped++;
                }
            }
        }

        private bool Take()
        {
            Record? expected = records.Find(r => r.Fate == Fate.Waits);
            bool isThere = buffer.TryTake(out BufferedRecord record);
            Assert.Equal(expected is not null, isThere);
            if (expected is null)
                return false;
            Compare(expected, record);
            expected.Fate = Fate.IsTaken;
            expected.Handle = record.Handle;
            return true;
        }

        private bool Settle(int choice, Fate fate)
        {
            List<Record> taken = records.FindAll(r => r.Fate == Fate.IsTaken);
            if (taken.Count == 0)
                return false;
            Record record = taken[choice % taken.Count];
            record.Fate = fate;
            if (fate == Fate.IsDropped)
            {
                buffer.Drop(record.Handle, DropReason.Refused);
                dropped++;
            }
            else
            {
                buffer.Confirm(record.Handle);
            }

            return true;
        }

        private void ReadOne(int choice)
        {
            List<Record> taken = records.FindAll(r => r.Fate == Fate.IsTaken);
            if (taken.Count > 0)
                Compare(taken[choice % taken.Count], buffer.Read(taken[choice % taken.Count].Handle));
        }

        private static void Compare(Record expected, in BufferedRecord actual)
        {
            Assert.Same(expected.Stream, actual.Stream);
            Assert.Equal(expected.Sequence, actual.Sequence);
            Assert.True(actual.Body.SequenceEqual(expected.Body));
        }

        private void Check()
        {
            Assert.True(buffer.MemoryBytes <= buffer.MemoryBytesMax);
            Assert.Equal(records.Count(r => !r.IsSettled), buffer.Records);
            Assert.Equal(dropped, buffer.DroppedRecords);
            foreach (DeviceStream stream in all)
            {
                Record? first = records.Find(r => r.Stream == stream && !r.IsSettled);
                if (first is null || ack == AckPolicy.Memory)
                {
                    Assert.Equal(stream.HighestTaken, stream.SafeSequence);
                }
                else
                {
                    // Never beyond the first that is not settled, and not short of what lies before it.
                    Assert.True(stream.SafeSequence < first.Sequence);
                    Assert.DoesNotContain(
                        records.Where(r => r.Stream == stream),
                        r => r.Sequence > stream.SafeSequence && r.Sequence < first.Sequence);
                }

                Assert.Equal(records.Count(r => r.Stream == stream && !r.IsSettled), stream.Outstanding);
            }
        }
    }
}
