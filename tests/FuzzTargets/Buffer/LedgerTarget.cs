using IotTcpGateway.Buffer;
using IotTcpGateway.Fuzz.Journal;
using IotTcpGateway.Fuzz.Protocol;
using IotTcpGateway.Journal;
using IotTcpGateway.Journal.Tests;

using Microsoft.Extensions.Time.Testing;

namespace IotTcpGateway.Fuzz.Buffer;

/// <summary>
/// A ledger over a directory with anything in it, and then used in any way: it opens, what it tells makes sense and
/// keeps its order, its memory is bounded, and what was told is not told again after the next start.
/// </summary>
/// <remarks>
/// Input: u8 n and n bytes of steps; the rest is what <see cref="JournalImage"/> reads, with ledger entries as payloads.
/// </remarks>
internal static class LedgerTarget
{
    private static readonly string[] Devices = ["pump-7", "valve-3", "local"];
    private static readonly LedgerLimits Limits = new()
    {
        MemoryBytes = 4096,
        Journal = new JournalOptions
        {
            BytesMax = 64 * 1024,
            SegmentBytes = 4096,
            PreallocateBytes = 0,
            CommitBytesMax = 2048,
            PayloadBytesMax = JournalImage.PayloadBytesMax,
            BrokenBytesMax = 4096,
            NewNonce = () => 0x5555,
        },
    };

    public static void Run(ReadOnlySpan<byte> input)
    {
        var decisions = new FuzzInput(input);
        ReadOnlySpan<byte> steps = decisions.Text();
        var disk = new SimulatedDisk(new Random(1));
        new JournalImage(disk, Payload).Build(ref decisions);
        var time = new FakeTimeProvider();
        using (var ledger = new DropLedger(time, () => 0, Limits))
        {
            Require.That(ledger.Open(disk).IsNone, "the ledger does not open");
            Use(ledger, new FuzzInput(steps), time);
            TellAll(ledger);
            Require.That(ledger.Flush().IsNone && ledger.Tidy().IsNone, "it cannot be written");
        }

        disk.Kill();
        using var again = new DropLedger(time, () => 0, Limits);
        Require.That(again.Open(disk).IsNone, "the ledger does not open again");
        Require.That(again.ReportsWaiting == 0, $"{again.ReportsWaiting} entries would be told again");
    }

    // An entry as it would be written, or any bytes.
    private static int Payload(ref FuzzInput input, Span<byte> payload)
    {
        if (input.Below(8) == 7)
        {
            ReadOnlySpan<byte> any = input.Text();
            any.CopyTo(payload);
            return any.Length;
        }

        uint from = input.UInt16();
        return LedgerRecord.Write(payload, new GapReport(
            input.Below(32) + 1L,
            Devices[input.Below(Devices.Length)],
            (uint)input.Below(4) + 1,
            from,
            from + input.Byte(),
            input.Byte() + 1L,
            (DropReason)(input.Below(5) + 1),
            input.Byte()));
    }

    private static void Use(DropLedger ledger, FuzzInput steps, FakeTimeProvider time)
    {
        List<GapReport> taken = [];
        while (!steps.IsAtEnd)
        {
            int step = steps.Below(8);
            switch (step)
            {
                case 0 or 1:
                    ledger.Add(Devices[steps.Below(Devices.Length)], (uint)steps.Below(200) + 1, steps.UInt16(), (DropReason)(steps.Below(5) + 1));
                    break;
                case 2:
                    Take(ledger, taken);
                    break;
                case 3 when taken.Count > 0:
                    Settle(ledger, taken, steps.Byte(), isTold: true);
                    break;
                case 4 when taken.Count > 0:
                    Settle(ledger, taken, steps.Byte(), isTold: false);
                    break;
                case 5:
                    ledger.Rewind();
                    taken.Clear();
                    break;
                case 6:
                    Require.That(steps.Flag() ? ledger.Flush().IsNone : ledger.Tidy().IsNone, "it cannot be written");
                    break;
                default:
                    time.Advance(TimeSpan.FromMilliseconds(steps.Byte() * 8));
                    break;
            }

            Require.That(ledger.Untaken >= 0 && ledger.Untaken <= ledger.ReportsWaiting, "the count of the untaken is wrong");
            Require.That(ledger.ReportsWaiting * 200 <= Limits.MemoryBytes * 2, "it takes more memory than it may");
            Require.That(ledger.Latest.Count <= DropLedger.LatestMax, "too many are shown");
        }

        ledger.Rewind();
    }

    private static void Take(DropLedger ledger, List<GapReport> taken)
    {
        if (!ledger.TryTake(out GapReport? report))
            return;
        Check(report);
        Require.That(!taken.Exists(t => ReferenceEquals(t, report)), "an entry is taken twice");
        taken.Add(report);
    }

    private static void Settle(DropLedger ledger, List<GapReport> taken, int which, bool isTold)
    {
        GapReport report = taken[which % taken.Count];
        taken.Remove(report);
        if (isTold)
            ledger.Published(report);
        else
            ledger.PutOff(report, TimeSpan.FromSeconds(1));
    }

    private static void TellAll(DropLedger ledger)
    {
        long last = 0;
        while (ledger.TryTake(out GapReport? report))
        {
            Check(report);
            Require.That(report.Number > last, $"entry {report.Number} is told after {last}");
            last = report.Number;
            ledger.Published(report);
        }

        Require.That(ledger.ReportsWaiting == 0, "entries wait that nobody can take");
    }

    private static void Check(GapReport report)
    {
        Require.That(report.From <= report.To && report.Count > 0 && report.Number > 0, $"{report} makes no sense");
        Require.That(Enum.IsDefined(report.Reason) && report.DeviceId.Length > 0, $"{report} makes no sense");
    }
}
