using System.Text;

namespace IotTcpGateway.Journal.Tests;

/// <summary>Small journals, and what is in them.</summary>
internal static class Rig
{
    /// <summary>Small enough that a few records turn the segment.</summary>
    public static JournalOptions SmallOptions(Random? random = null) => new()
    {
        BytesMax = 64 * 1024,
        SegmentBytes = 4096,
        PreallocateBytes = 1024,
        CommitBytesMax = 2048,
        PayloadBytesMax = 1024,
        BrokenBytesMax = 8192,
        NewNonce = () => unchecked((ulong)(random ??= new Random(1)).NextInt64()),
    };

    public static RecordJournal Open(
        IJournalDisk disk, JournalOptions options, out RecoveryReport report, RecordVisitor? visitor = null)
    {
        DiskError error = RecordJournal.Open(disk, options, out RecordJournal? journal, out report, visitor);
        Xunit.Assert.Equal(DiskError.None, error);
        return journal!;
    }

    public static RecordJournal Open(IJournalDisk disk, JournalOptions? options = null) =>
        Open(disk, options ?? SmallOptions(), out _);

    public static long Append(this RecordJournal journal, string payload)
    {
        Xunit.Assert.Equal(AppendResult.Appended, journal.TryAppend(Encoding.UTF8.GetBytes(payload), out long id));
        return id;
    }

    /// <summary>Appends <c>prefix1</c>, <c>prefix2</c>, … and commits each by itself.</summary>
    public static void AppendAll(this RecordJournal journal, int count, string prefix = "record ")
    {
        for (int i = 1; i <= count; i++)
        {
            journal.Append(prefix + i);
            Xunit.Assert.Equal(JournalState.Healthy, journal.Commit().State);
        }
    }

    public static List<(long Id, string Payload)> ReadAll(
        this RecordJournal journal, long fromId = 1, List<IdRange>? gaps = null)
    {
        var found = new List<(long, string)>();
        using JournalReader reader = journal.CreateReader(fromId);
        while (true)
        {
            ReadResult result = reader.TryRead(out JournalRecord record);
            if (result == ReadResult.End)
                return found;
            if (result == ReadResult.Gap)
                gaps?.Add(reader.Gap);
            else
                found.Add((record.Id, Encoding.UTF8.GetString(record.Payload)));
        }
    }
}
