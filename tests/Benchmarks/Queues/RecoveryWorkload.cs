using System.Diagnostics;

using IotTcpGateway.Journal;

namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>The start of a gateway on a journal that another process left.</summary>
internal static class RecoveryWorkload
{
    public static Figures Run(Job job)
    {
        JournalOptions options = JournalQueue.OptionsFor(job.Engine == Engines.Journal);
        var figures = new Figures();
        // Group 0 stands for cold: what a start after a power cut finds, as far as the device has no cache of its own.
        bool isCold = job.Group == 0;
        if (isCold)
            Machine.DropCache(job.Directory);
        double readBefore = Machine.Io("read_bytes");
        double residentBefore = Machine.Kibibytes("VmRSS");
        long allocatedBefore = GC.GetTotalAllocatedBytes();
        ulong seen = 0;
        var watch = Stopwatch.StartNew();
        DiskError error = RecordJournal.Open(new PosixDisk(job.Directory), options, out RecordJournal? journal,
            out RecoveryReport report, (in JournalRecord record) => seen += record.Payload[0]);
        figures[Figure.OpenSeconds] = watch.Elapsed.TotalSeconds;
        figures[Figure.AllocatedBytes] = GC.GetTotalAllocatedBytes() - allocatedBefore;
        figures[Figure.GrownKibibytes] = Machine.Kibibytes("VmHWM") - residentBefore;
        figures[Figure.ReadBytes] = Machine.Io("read_bytes") - readBefore;
        using (journal)
        {
            if (!error.IsNone || !report.IsClean || report.UnconfirmedRecords != job.Records || seen == 0)
                throw new IOException($"{report.UnconfirmedRecords} records were recovered of {job.Records}: {error}");
            figures[Figure.ReplayCached] = Replay(job, journal!);
            Machine.DropCache(job.Directory);
            figures[Figure.ReplayFromDisk] = Replay(job, journal!);
        }

        return figures;
    }

    private static double Replay(Job job, RecordJournal journal)
    {
        using JournalReader reader = journal.CreateReader(1);
        ulong seen = 0;
        int records = 0;
        var watch = Stopwatch.StartNew();
        while (reader.TryRead(out JournalRecord record) == ReadResult.Record)
        {
            seen += record.Payload[0];
            records++;
        }

        double rate = records / watch.Elapsed.TotalSeconds;
        if (records != job.Records || seen == 0)
            throw new IOException($"{records} records were read back of {job.Records}");
        return rate;
    }
}
