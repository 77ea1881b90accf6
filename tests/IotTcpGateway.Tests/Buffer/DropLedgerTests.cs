using IotTcpGateway.Buffer;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>The ledger in memory: what joins, in which order it goes, and what happens at the cap.</summary>
public sealed class DropLedgerTests : IDisposable
{
    private const long Now = 1_763_900_000_000;

    private readonly FakeTimeProvider time = new();
    private readonly DropLedger ledger;
    private long unixMilliseconds = Now;

    public DropLedgerTests() => ledger = new DropLedger(time, () => unixMilliseconds);

    public void Dispose() => ledger.Dispose();

    [Fact]
    public void Add_Flood_IsOneEntry()
    {
        for (uint sequence = 12; sequence <= 90; sequence++)
            ledger.Add("pump-7", 287_454_020, sequence, DropReason.BufferFull);
        Assert.True(ledger.TryTake(out GapReport? report));
        Assert.Equal(new GapReport(1, "pump-7", 287_454_020, 12, 90, 79, DropReason.BufferFull, Now), report);
        Assert.False(ledger.TryTake(out _));
        Assert.Equal((1, 1, 0), (ledger.Entries, ledger.ReportsWaiting, ledger.Untaken));
    }

    [Fact]
    public void Add_OfAnotherDeviceBootOrReason_IsAnotherEntryInOrderOfItsBeginning()
    {
        ledger.Add("a", 1, 5, DropReason.BufferFull);
        ledger.Add("b", 1, 5, DropReason.BufferFull);
        ledger.Add("a", 2, 1, DropReason.BufferFull);
        ledger.Add("a", 1, 6, DropReason.Refused);
        ledger.Add("b", 1, 6, DropReason.BufferFull);
        ledger.Add("a", 1, 7, DropReason.BufferFull);
        Assert.Equal(
            [
                new GapReport(1, "a", 1, 5, 7, 2, DropReason.BufferFull, Now),
                new GapReport(2, "b", 1, 5, 6, 2, DropReason.BufferFull, Now),
                new GapReport(3, "a", 2, 1, 1, 1, DropReason.BufferFull, Now),
                new GapReport(4, "a", 1, 6, 6, 1, DropReason.Refused, Now),
            ],
            TakeAll());
    }

    [Fact]
    public void Add_WithHolesOrOutOfOrder_JoinsForASecond()
    {
        ledger.Add("a", 1, 10, DropReason.Refused);
        ledger.Add("a", 1, 4, DropReason.Refused);
        time.Advance(DropLedger.OpenFor - TimeSpan.FromTicks(1));
        ledger.Add("a", 1, 20, DropReason.Refused);
        time.Advance(TimeSpan.FromTicks(1));
        ledger.Add("a", 1, 22, DropReason.Refused);
        Assert.Equal([(4u, 20u, 3L), (22u, 22u, 1L)], TakeAll().Select(r => (r.From, r.To, r.Count)));
    }

    [Fact]
    public void Add_OfWhatFollowsWithoutAHole_JoinsWheneverItComes()
    {
        ledger.Add("a", 1, 1, DropReason.Expired);
        for (uint sequence = 2; sequence <= 100; sequence++)
        {
            time.Advance(TimeSpan.FromMinutes(10));
            ledger.Add("a", 1, sequence, DropReason.Expired);
        }

        Assert.Equal([(1u, 100u, 100L)], TakeAll().Select(r => (r.From, r.To, r.Count)));
    }

    [Fact]
    public void Add_AfterItsRunWasTaken_BeginsAnother()
    {
        ledger.Add("a", 1, 1, DropReason.Refused);
        Assert.True(ledger.TryTake(out _));
        ledger.Add("a", 1, 2, DropReason.Refused);
        ledger.Add("a", 1, 3, DropReason.Refused);
        Assert.Equal([(2u, 3u, 2L)], TakeAll().Select(r => (r.From, r.To, r.Count)));
    }

    [Fact]
    public void Add_ToTheLastSequence_JoinsNothingBehindIt()
    {
        ledger.Add("a", 1, uint.MaxValue, DropReason.Refused);
        time.Advance(DropLedger.OpenFor);
        ledger.Add("a", 1, 0, DropReason.Refused);
        Assert.Equal(2, TakeAll().Count);
    }

    [Fact]
    public void Add_ToARun_AllocatesNothing()
    {
        for (uint i = 0; i < 100; i++)
            AddToTwo(i);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (uint i = 100; i < 10_000; i++)
            AddToTwo(i);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void AddToTwo(uint sequence)
        {
            ledger.Add("a", 1, sequence, DropReason.BufferFull);
            ledger.Add("b", 1, sequence * 2, DropReason.BufferFull);
        }
    }

    [Fact]
    public void Added_IsRaisedForANewEntryUnderNoLock()
    {
        int raised = 0;
        ledger.Added += () =>
        {
            raised++;
            // Another thread gets in.
            Assert.Equal(1, Task.Run(() => ledger.ReportsWaiting).GetAwaiter().GetResult());
        };
        ledger.Add("a", 1, 1, DropReason.Refused);
        ledger.Add("a", 1, 2, DropReason.Refused);
        Assert.Equal(1, raised);
    }

    [Fact]
    public void ClockNotSynchronised_EntryHasNoTime()
    {
        unixMilliseconds = 0;
        ledger.Add("a", 1, 1, DropReason.Refused);
        Assert.Equal(0, Assert.Single(TakeAll()).UnixMilliseconds);
    }

    [Fact]
    public void Rewind_GivesWhatWasNotConfirmedAgainInOrder()
    {
        for (uint i = 1; i <= 4; i++)
            ledger.Add($"d{i}", 1, i, DropReason.Refused);
        List<GapReport> taken = TakeAll();
        ledger.Published(taken[2]);
        ledger.Rewind();
        Assert.Equal(["d1", "d2", "d4"], TakeAll().Select(r => r.DeviceId));
        // What a link said that is gone is said of nothing.
        ledger.Published(taken[0]);
        Assert.Equal((3, 1), (ledger.ReportsWaiting, ledger.EntriesTold));
    }

    [Fact]
    public void PutOff_HoldsUpItsDeviceAloneUntilTheWaitIsOverOrTheLinkIsLost()
    {
        ledger.Add("a", 1, 1, DropReason.Refused);
        ledger.Add("a", 2, 1, DropReason.Refused);
        ledger.Add("b", 1, 1, DropReason.Refused);
        Assert.True(ledger.TryTake(out GapReport? report));
        ledger.PutOff(report, TimeSpan.FromSeconds(4));
        Assert.Equal(["b"], TakeAll().Select(r => r.DeviceId));
        time.Advance(TimeSpan.FromSeconds(4) - TimeSpan.FromTicks(1));
        Assert.False(ledger.TryTake(out _));
        time.Advance(TimeSpan.FromTicks(1));
        List<GapReport> again = TakeAll();
        Assert.Equal([1u, 2u], again.Select(r => r.BootId));

        ledger.PutOff(again[0], TimeSpan.FromHours(1));
        Assert.False(ledger.TryTake(out _));
        ledger.Rewind();
        Assert.Equal(3, TakeAll().Count);
    }

    [Fact]
    public void Cap_SameDeviceBootAndReason_BecomeOneEntryAndNothingIsForgotten()
    {
        // Two devices drop every other frame, for a day and with no broker.
        for (uint i = 0; i < 43_200; i++)
        {
            ledger.Add("a", 1, (2 * i) + 1, DropReason.BufferFull);
            ledger.Add("b", 1, (2 * i) + 2, DropReason.BufferFull);
            time.Advance(TimeSpan.FromSeconds(2));
        }

        List<GapReport> reports = TakeAll();
        Assert.Equal(0, ledger.EntriesForgotten);
        Assert.InRange(reports.Count, 2, 1_200);
        Assert.Equal(reports.Count, ledger.ReportsWaiting);
        GapReport[] ofOne = [.. reports.Where(r => r.DeviceId == "a")];
        Assert.Equal((43_200, 1u, 86_399u), (ofOne.Sum(r => r.Count), ofOne.Min(r => r.From), ofOne.Max(r => r.To)));
        Assert.Equal(86_400, ledger.Entries);
    }

    [Fact]
    public void Cap_NothingToMerge_ForgetsTheOldestAndCountsThem()
    {
        const int devices = 5_000;
        ledger.Add("first", 1, 1, DropReason.Refused);
        Assert.True(ledger.TryTake(out GapReport? inFlight));
        for (int i = 0; i < devices; i++)
            ledger.Add($"device-{i:D4}", 1, 1, DropReason.Refused);
        List<GapReport> reports = TakeAll();
        Assert.InRange(reports.Count, 700, 1_200);
        Assert.Equal(devices, reports.Count + ledger.EntriesForgotten);
        Assert.Equal(
            Enumerable.Range(devices - reports.Count, reports.Count).Select(i => $"device-{i:D4}"),
            reports.Select(r => r.DeviceId));
        // What was in flight was neither forgotten nor merged.
        ledger.Published(inFlight);
        Assert.Equal(1, ledger.EntriesTold);
    }

    [Fact]
    public void Latest_TellsTheNewestToldOrNot()
    {
        for (int i = 0; i < 40; i++)
            ledger.Add($"d{i}", 1, 1, DropReason.Refused);
        foreach (GapReport report in TakeAll())
            ledger.Published(report);
        Assert.Equal(Enumerable.Range(8, 32).Select(i => $"d{i}"), ledger.Latest.Select(r => r.DeviceId));
        Assert.Equal((40, 0, 40), (ledger.Entries, ledger.ReportsWaiting, ledger.EntriesTold));
    }

    [Fact]
    public void FlushAndTidy_WithoutADisk_DoNothing()
    {
        ledger.Add("a", 1, 1, DropReason.Refused);
        Assert.True(ledger.Flush().IsNone);
        Assert.True(ledger.Tidy().IsNone);
        Assert.False(ledger.IsOnDisk);
    }

    private List<GapReport> TakeAll()
    {
        var reports = new List<GapReport>();
        while (ledger.TryTake(out GapReport? report))
            reports.Add(report);
        return reports;
    }
}
