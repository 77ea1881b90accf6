using System.Runtime.InteropServices;

using IotTcpGateway.Journal;

namespace IotTcpGateway.Benchmarks.Queues;

internal sealed class JournalQueue : IQueue
{
    private readonly RecordJournal journal;
    private readonly JournalReader reader;
    private long lastRead;

    public JournalQueue(string directory, bool zerosAhead)
    {
        DiskError error = RecordJournal.Open(
            new PosixDisk(directory), OptionsFor(zerosAhead), out RecordJournal? opened, out RecoveryReport report);
        if (!error.IsNone || !report.IsClean)
            throw new IOException($"the journal does not open as it was closed: {error}");
        journal = opened!;
        reader = journal.CreateReader(journal.ConfirmedThrough + 1);
    }

    public ulong Seen { get; private set; }

    public (double Records, double Zeros) BytesWritten => (
        journal.Counters.RecordBytesWritten + journal.Counters.OtherBytesWritten,
        journal.Counters.PreallocatedBytes);

    public static JournalOptions OptionsFor(bool zerosAhead)
    {
        var options = new JournalOptions { BytesMax = 16L * 1024 * 1024 * 1024 };
        if (!zerosAhead)
            options.PreallocateBytes = 0;
        return options;
    }

    public void Append(ReadOnlySpan<byte> payload)
    {
        AppendResult result = journal.TryAppend(payload, out _);
        if (result != AppendResult.Appended)
            throw new IOException($"the journal did not take a record: {result}");
    }

    public void Commit()
    {
        CommitResult result = journal.Commit();
        if (result.State != JournalState.Healthy)
            throw new IOException($"the journal could not commit: {result.Error}");
    }

    public int Read(int recordsMax)
    {
        int records = 0;
        while (records < recordsMax && reader.TryRead(out JournalRecord record) is ReadResult result
            && result != ReadResult.End)
        {
            if (result != ReadResult.Record)
                throw new IOException($"the journal lost records: {reader.Gap}");
            Seen += MemoryMarshal.Read<ulong>(record.Payload);
            records++;
            lastRead = record.Id;
        }

        return records;
    }

    public void Settle()
    {
        for (long id = journal.ConfirmedThrough + 1; id <= lastRead; id++)
            journal.Confirm(id);
        DiskError error = journal.CommitCursor();
        if (error.IsNone)
            error = journal.Trim();
        if (!error.IsNone)
            throw new IOException($"the journal could not settle: {error}");
    }

    public void Dispose()
    {
        reader.Dispose();
        journal.Dispose();
    }
}

