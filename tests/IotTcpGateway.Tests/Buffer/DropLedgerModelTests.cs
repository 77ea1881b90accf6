using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;
using IotTcpGateway.Journal.Tests;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>
/// The ledger against a plain list of what was dropped, over a disk that fails and power that is cut: nothing that was
/// flushed goes untold, and nothing is told that was not dropped.
/// </summary>
public sealed class DropLedgerModelTests
{
    private static readonly int Seeds =
        int.TryParse(Environment.GetEnvironmentVariable("LEDGER_SEEDS"), out int seeds) ? seeds : 200;

    [Fact]
    public void AnyOrder_InMemory_EveryDropIsToldOnce()
    {
        for (int seed = 0; seed < Seeds; seed++)
        {
            var world = new World(seed, limits: null);
            for (int step = 0; step < 300; step++)
                world.DoInMemory();
            world.TellEverything();
            world.AssertToldOnce();
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AnyOrder_OnABadDisk_NothingFlushedGoesUntold(bool isTight)
    {
        // A tight one merges all the time, but holds an entry of each device, boot and reason.
        LedgerLimits? limits = !isTight ? null : new LedgerLimits
        {
            MemoryBytes = 12_000,
            Journal = new JournalOptions
            {
                BytesMax = 24 * 1024,
                SegmentBytes = 2048,
                PreallocateBytes = 0,
                CommitBytesMax = 1024,
                PayloadBytesMax = LedgerRecord.BytesMax,
            },
        };
        for (int seed = 0; seed < Seeds; seed++)
        {
            var world = new World(seed, limits);
            world.Open();
            for (int step = 0; step < 400; step++)
                world.DoOnDisk();
            world.TellEverything();
            world.AssertNothingUntold();
            world.AssertNoneComesAgain();
        }
    }

    private sealed class World
    {
        private readonly Random random;
        private readonly SimulatedDisk disk;
        private readonly FakeTimeProvider time = new();
        private readonly LedgerLimits? limits;
        private readonly int seed;
        private readonly Dictionary<LedgerKey, uint> next = [];
        private readonly HashSet<(LedgerKey Key, uint Sequence)> dropped = [];
        private readonly HashSet<(LedgerKey Key, uint Sequence)> owed = [];
        private readonly HashSet<(LedgerKey Key, uint Sequence)> durable = [];
        private readonly List<GapReport> taken = [];
        private readonly List<GapReport> told = [];
        private DropLedger ledger;

        public World(int seed, LedgerLimits? limits)
        {
            this.seed = seed;
            this.limits = limits;
            random = new Random(seed);
            disk = new SimulatedDisk(random);
            ledger = New();
        }

        public void DoInMemory()
        {
            switch (random.Next(10))
            {
                case < 5:
                    Drop();
                    break;
                case 5:
                    time.Advance(TimeSpan.FromMilliseconds(random.Next(800)));
                    break;
                case 6 or 7:
                    Take();
                    break;
                case 8:
                    Settle();
                    break;
                default:
                    Rewind();
                    break;
            }
        }

        public void DoOnDisk()
        {
            try
            {
                DoOnDisk(random.Next(40));
            }
            catch (PowerCutException)
            {
                disk.CutPower();
                Restart();
            }
        }

        public void Open()
        {
            while (!ledger.Open(disk).IsNone)
            {
            }
        }

        public void TellEverything()
        {
            disk.Fault = null;
            disk.CutAt = int.MaxValue;
            ledger.Rewind();
            taken.Clear();
            while (ledger.Untaken > 0)
                Take();
            while (taken.Count > 0)
                Settle();
            Assert.Equal(0, ledger.ReportsWaiting);
        }

        public void AssertToldOnce()
        {
            Assert.Equal(0, ledger.EntriesForgotten);
            foreach (IGrouping<LedgerKey, (LedgerKey Key, uint Sequence)> ofKey in dropped.GroupBy(d => d.Key))
                Assert.Equal(ofKey.Count(), told.Where(r => KeyOf(r) == ofKey.Key).Sum(r => r.Count));
            AssertNothingUntold();
        }

        public void AssertNothingUntold() => Assert.All(owed, one => Assert.True(
            told.Any(r => KeyOf(r) == one.Key && r.From <= one.Sequence && one.Sequence <= r.To),
            $"seed {seed}: {one} was not told"));

        public void AssertNoneComesAgain()
        {
            Assert.True(ledger.Flush().IsNone);
            Assert.True(ledger.Tidy().IsNone);
            disk.CutPower();
            Restart();
            Assert.Equal(0, ledger.ReportsWaiting);
        }

        private void DoOnDisk(int what)
        {
            switch (what)
            {
                case < 5:
                    Flush();
                    break;
                case 5:
                    ledger.Tidy();
                    break;
                case 6:
                    disk.Fault = (_, _) => random.Next(6) == 0 ? DiskError.InputOutput : 0;
                    break;
                case 7:
                    disk.Fault = (operation, _) => operation == DiskOperation.Write ? DiskError.NoSpace : 0;
                    break;
                case 8:
                    // What other threads do while the disk is waited for.
                    disk.Fault = (_, _) =>
                    {
                        if (random.Next(3) == 0)
                            DoInMemory();
                        return 0;
                    };
                    break;
                case < 11:
                    disk.Fault = null;
                    break;
                case 11:
                    disk.CutAt = disk.Operations + random.Next(12);
                    break;
                case 12:
                    disk.Kill();
                    Restart();
                    break;
                default:
                    DoInMemory();
                    break;
            }
        }

        private DropLedger New() => new(time, () => 0, limits);

        private void Restart()
        {
            disk.Fault = null;
            owed.IntersectWith(durable);
            taken.Clear();
            ledger = New();
            Open();
        }

        private void Drop()
        {
            var key = new LedgerKey($"d{random.Next(3)}", (uint)random.Next(1, 3), (DropReason)random.Next(1, 3));
            for (int i = random.Next(1, 6); i > 0; i--)
            {
                uint sequence = next.GetValueOrDefault(key) + (uint)(random.Next(4) == 0 ? random.Next(2, 9) : 1);
                next[key] = sequence;
                dropped.Add((key, sequence));
                owed.Add((key, sequence));
                ledger.Add(key.DeviceId, key.BootId, sequence, key.Reason);
            }
        }

        private void Flush()
        {
            (LedgerKey Key, uint Sequence)[] now = [.. owed];
            if (ledger.Flush().IsNone)
                durable.UnionWith(now);
        }

        private void Take()
        {
            if (!ledger.TryTake(out GapReport? report))
                return;
            Assert.True(taken.Count == 0 || taken[^1].Number < report.Number, $"seed {seed}: out of order");
            uint[] meant = [.. dropped
                .Where(d => d.Key == KeyOf(report) && d.Sequence >= report.From && d.Sequence <= report.To)
                .Select(d => d.Sequence)];
            Assert.Contains(report.From, meant);
            Assert.Contains(report.To, meant);
            taken.Add(report);
        }

        private void Settle()
        {
            if (taken.Count == 0)
                return;
            int index = random.Next(taken.Count);
            ledger.Published(taken[index]);
            told.Add(taken[index]);
            taken.RemoveAt(index);
        }

        private void Rewind()
        {
            ledger.Rewind();
            taken.Clear();
        }

        private static LedgerKey KeyOf(GapReport report) => new(report.DeviceId, report.BootId, report.Reason);
    }
}
