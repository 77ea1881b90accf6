using IotTcpGateway.Fuzz.Protocol;
using IotTcpGateway.Journal;
using IotTcpGateway.Journal.Tests;

namespace IotTcpGateway.Fuzz.Journal;

/// <summary>
/// A directory with anything in it: the journal opens, in constant memory; ids only grow; only whole records are shown;
/// what is appended then is found; and whoever opens it again reads the same.
/// </summary>
/// <remarks>Input: a byte of options, a number of records to settle, then what <see cref="JournalImage"/> reads.</remarks>
internal static class JournalTarget
{
    private const int StepsMax = 100_000;

    // Two windows of a scanner for the largest record, a reader's, and what this code needs itself.
    private const long AllocatedBytesMax = 8L << 20;

    public static void Run(ReadOnlySpan<byte> input)
    {
        var decisions = new FuzzInput(input);
        byte choices = decisions.Byte();
        int settled = decisions.Byte();
        var disk = new SimulatedDisk(new Random(1));
        var image = new JournalImage(disk, (ref FuzzInput from, Span<byte> payload) => Take(from.Text(), payload));
        image.Build(ref decisions);

        long before = GC.GetAllocatedBytesForCurrentThread();
        RecordJournal journal = Open(disk, choices, image.Whole, out long highestSeen);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Require.That(allocated <= AllocatedBytesMax, $"{allocated} bytes were allocated for a directory of {image.Bytes}");
        List<(long Id, string Payload)> found = Read(journal, image.Whole);
        foreach ((long id, _) in found.Take(settled))
            journal.Confirm(id);
        Append(journal, image.Whole, highestSeen, found);
        if ((choices & 16) != 0)
            Require.That(journal.DropOldest(out GivenUp givenUp).IsNone && givenUp.Count >= 0, "the oldest cannot go");
        if ((choices & 4) != 0)
        {
            journal.CommitCursor();
            journal.Trim();
        }

        List<(long Id, string Payload)> kept = Read(journal, image.Whole);
        long confirmed = journal.ConfirmedThrough;
        journal.Dispose();
        disk.Kill();
        using RecordJournal again = Open(disk, choices, image.Whole, out _);
        List<(long Id, string Payload)> foundAgain = Read(again, image.Whole);
        // A cursor that was not written lets more be read, never less.
        var expected = kept.Where(r => r.Id > confirmed).ToList();
        Require.That(
            expected.SequenceEqual(foundAgain.Where(r => r.Id > confirmed)),
            $"opened again it reads {Ids(foundAgain)} instead of {Ids(expected)} in {string.Join(' ', disk.Names)}");
    }

    private static int Take(ReadOnlySpan<byte> from, Span<byte> payload)
    {
        from.CopyTo(payload);
        return from.Length;
    }

    private static RecordJournal Open(
        SimulatedDisk disk, byte choices, Dictionary<long, HashSet<string>> whole, out long highestSeen)
    {
        var options = new JournalOptions
        {
            PayloadBytesMax = JournalImage.PayloadBytesMax,
            CommitBytesMax = 1024,
            SegmentBytes = 2048,
            BytesMax = 64 * 1024,
            PreallocateBytes = (choices & 1) * 512,
            BrokenBytesMax = (choices & 2) * 2048,
            IsTrimmedAtStart = (choices & 8) != 0,
            NewNonce = () => 0x5555,
        };
        long last = 0;
        DiskError error = RecordJournal.Open(disk, options, out RecordJournal? journal, out RecoveryReport report, Visit);
        Require.That(error.IsNone && journal is not null, "the journal does not open");
        Require.That(report.NextId > last && report.NextId > 0, "an id is to be given twice");
        Require.That(report.MissingRecords >= 0 && report.TornBytes >= 0 && report.UnconfirmedRecords >= 0, "a number below zero");
        Require.That(report.WriteError.IsNone && report.ReadError.IsNone, "an error that the disk did not have");
        highestSeen = last;
        return journal!;

        void Visit(in JournalRecord record)
        {
            Require.That(record.Id > last, $"record {record.Id} is shown after {last}");
            last = record.Id;
            CheckWhole(record, whole);
        }
    }

    private static void CheckWhole(in JournalRecord record, Dictionary<long, HashSet<string>> whole) =>
        Require.That(
            whole.TryGetValue(record.Id, out HashSet<string>? known) && known.Contains(Convert.ToHexString(record.Payload)),
            $"record {record.Id} was never written like this");

    private static List<(long Id, string Payload)> Read(RecordJournal journal, Dictionary<long, HashSet<string>> whole)
    {
        using JournalReader reader = journal.CreateReader(1);
        List<(long Id, string Payload)> found = [];
        long last = 0;
        for (int step = 0; step < StepsMax; step++)
        {
            ReadResult result = reader.TryRead(out JournalRecord record);
            if (result == ReadResult.End)
                return found;
            Require.That(result != ReadResult.Failed, "a segment that is there cannot be opened");
            IdRange told = result == ReadResult.Gap ? reader.Gap : new IdRange(record.Id, record.Id);
            Require.That(told.First > last && told.Last >= told.First, $"{told} is told after {last}");
            last = told.Last;
            if (result == ReadResult.Gap)
                continue;
            CheckWhole(record, whole);
            found.Add((record.Id, Convert.ToHexString(record.Payload)));
        }

        Require.That(false, "the reader does not come to an end");
        return found;
    }

    private static void Append(
        RecordJournal journal, Dictionary<long, HashSet<string>> whole, long highestSeen, List<(long Id, string)> found)
    {
        long last = Math.Max(highestSeen, found.Count > 0 ? found[^1].Id : 0);
        for (byte number = 0; number < 3; number++)
        {
            AppendResult result = journal.TryAppend([number, 0xAA], out long id);
            if (result == AppendResult.CommitFirst)
            {
                journal.Commit();
                result = journal.TryAppend([number, 0xAA], out id);
            }

            Require.That(result is AppendResult.Appended or AppendResult.Full, $"appending came to {result}");
            if (result == AppendResult.Full)
                return;
            Require.That(id > last, $"id {id} is given after {last}");
            last = id;
            whole[id] = [Convert.ToHexString([number, 0xAA])];
            CommitResult committed = journal.Commit();
            Require.That(committed.State == JournalState.Healthy && committed.SyncedThrough >= id, "a commit fails");
        }
    }

    private static string Ids(List<(long Id, string)> records) => string.Join(' ', records.Select(r => r.Id));
}
