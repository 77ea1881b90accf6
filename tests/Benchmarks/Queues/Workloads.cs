using System.Buffers.Binary;
using System.Diagnostics;

namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>What a child process does and measures; one workload a process, for its memory is measured too.</summary>
internal static class Workloads
{
    public const int PayloadBytes = 200;

    private const int Backlog = 1024;
    private const int WarmUpCommits = 300;

    public static int Run(Job job)
    {
        Figures figures = job.Workload switch
        {
            Workload.Idle => new Figures(),
            Workload.Append => Append(job),
            Workload.Queue => Queue(job),
            Workload.Build => Build(job),
            Workload.Recovery => RecoveryWorkload.Run(job),
            _ => throw new ArgumentException($"no such workload: {job.Workload}", nameof(job)),
        };
        figures[Figure.PeakKibibytes] = Machine.Kibibytes("VmHWM");
        Console.WriteLine(figures);
        return 0;
    }

    /// <summary>Records go in, and when all are there they are read back, from the disk and from the cache.</summary>
    private static Figures Append(Job job)
    {
        WarmUp(job);
        var figures = new Figures();
        string directory = Path.Combine(job.Directory, "queue");
        int records;
        IQueue queue = Engines.Open(job.Engine, directory);
        using (queue)
        {
            var before = new Writes(directory, queue);
            records = Timed(figures, job, () => AppendCommit(queue, job.Group));
            // SQLite moves what is left in its log to the table when it is closed: a part of what a record costs.
            queue.Dispose();
            before.Difference(figures);
        }

        figures[Figure.FileBytes] = Directory.GetFiles(directory).Sum(f => new FileInfo(f).Length);
        figures[Figure.ReplayFromDisk] = Replay(job.Engine, directory, records, isCached: false);
        figures[Figure.ReplayCached] = Replay(job.Engine, directory, records, isCached: true);
        return figures;
    }

    /// <summary>A group comes in, the oldest group is read and removed, over a backlog.</summary>
    private static Figures Queue(Job job)
    {
        WarmUp(job);
        var figures = new Figures();
        string directory = Path.Combine(job.Directory, "queue");
        IQueue queue = Engines.Open(job.Engine, directory);
        using (queue)
        {
            AppendCommit(queue, Backlog);
            var before = new Writes(directory, queue);
            Timed(figures, job, () => Cycle(queue, job.Group));
            queue.Dispose();
            before.Difference(figures);
        }

        Replay(job.Engine, directory, Backlog, isCached: true);
        return figures;
    }

    /// <summary>A journal to be recovered by another process.</summary>
    private static Figures Build(Job job)
    {
        var figures = new Figures();
        using IQueue queue = Engines.Open(job.Engine, job.Directory);
        var before = new Writes(job.Directory, queue);
        Timed(figures, job, () => AppendCommit(queue, job.Group));
        before.Difference(figures);
        return figures;
    }

    private static void AppendCommit(IQueue queue, int records)
    {
        Span<byte> payload = stackalloc byte[PayloadBytes];
        for (int i = 0; i < records; i++)
        {
            BinaryPrimitives.WriteInt64LittleEndian(payload[(i % 24 * 8)..], Stopwatch.GetTimestamp());
            payload[0] |= 1;
            queue.Append(payload);
        }

        queue.Commit();
    }

    private static void Cycle(IQueue queue, int records)
    {
        AppendCommit(queue, records);
        if (queue.Read(records) != records)
            throw new IOException("the queue has fewer records than were appended");
        queue.Settle();
    }

    // The code is compiled for speed by then; a first commit makes files, which is not what a record costs.
    private static void WarmUp(Job job)
    {
        string directory = Path.Combine(job.Directory, "warm-up");
        using IQueue queue = Engines.Open(job.Engine, directory);
        long limit = Stopwatch.GetTimestamp() + (Stopwatch.Frequency / 2);
        for (int i = 0; i < WarmUpCommits && Stopwatch.GetTimestamp() < limit; i++)
            Cycle(queue, job.Group);
    }

    private static int Timed(Figures figures, Job job, Action commit)
    {
        int commits = 0;
        var watch = Stopwatch.StartNew();
        while (commits * job.Group < job.Records && watch.Elapsed.TotalSeconds < job.SecondsMax)
        {
            commit();
            commits++;
        }

        int records = commits * job.Group;
        figures[Figure.Rate] = records / watch.Elapsed.TotalSeconds;
        figures[Figure.Records] = records;
        figures[Figure.Commits] = commits;
        return records;
    }

    private static double Replay(string engine, string directory, int records, bool isCached)
    {
        using IQueue queue = Engines.Open(engine, directory);
        if (!isCached)
            Machine.DropCache(directory);
        var watch = Stopwatch.StartNew();
        int read = queue.Read(int.MaxValue);
        double seconds = watch.Elapsed.TotalSeconds;
        if (read != records || queue.Seen == 0)
            throw new IOException($"{read} records are in the queue instead of {records}");
        return records / seconds;
    }
}
