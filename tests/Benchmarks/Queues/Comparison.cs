using System.Diagnostics;

namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>The journal beside SQLite on the same disk, by turns, so that both meet the same noise.</summary>
internal static class Comparison
{
    private const double SecondsMax = 170;
    private const double SecondsOfJobMax = 3;
    // A commit for each record costs as much as one for many: fewer will do.
    private const int RecordsOneByOneDivisor = 10;
    private const long BytesNeeded = 4096;

    private const string Help = """
        journal: append, commit, read and remove, of the journal beside SQLite (WAL, synchronous=FULL), by turns

          --directory DIR   on the disk to be measured; what is made there is removed (default: here)
          --records N       of 200 bytes, a measurement (default 100000); a tenth when each has its own commit
          --group N,N       records a commit (default 64,1)
          --rounds N        at most (default 5); none is begun that would end after three minutes

        dotnet run -c Release --project tests/Benchmarks -- journal --directory /var/tmp
        """;

    private static readonly string[] AllEngines = [Engines.Journal, Engines.JournalWithoutZeros, Engines.Sqlite];

    public static int Run(string[] args) => Arguments.Run(args, Help, Measure);

    private static void Measure(Arguments arguments)
    {
        using var scratch = new Scratch(arguments.Directory, arguments.Records * BytesNeeded);
        Console.WriteLine(ComparisonTable.Head(arguments.Directory));
        var results = new List<(Job Job, Figures Figures)>();
        var watch = Stopwatch.StartNew();
        int round = 0;
        double longest = 0;
        while (round < arguments.Rounds && watch.Elapsed.TotalSeconds + longest < SecondsMax)
        {
            double before = watch.Elapsed.TotalSeconds;
            Round(arguments, ++round, scratch, results);
            longest = Math.Max(longest, watch.Elapsed.TotalSeconds - before);
        }

        Console.WriteLine(ComparisonTable.Text(results, AllEngines));
        Console.WriteLine($"{round} rounds in {watch.Elapsed.TotalSeconds:F0} s");
    }

    private static void Round(
        Arguments arguments, int round, Scratch scratch, List<(Job Job, Figures Figures)> results)
    {
        Measure(new Job(Workload.Idle, Engines.None, 0, 0, 0, ""));
        foreach (int group in arguments.Groups)
        {
            int records = group == 1 ? Math.Max(1, arguments.Records / RecordsOneByOneDivisor) : arguments.Records;
            foreach (Workload workload in (Workload[])[Workload.Append, Workload.Queue])
            {
                // Who comes first changes from round to round.
                for (int i = 0; i < AllEngines.Length; i++)
                {
                    string engine = AllEngines[(i + round) % AllEngines.Length];
                    string directory = scratch.Make();
                    Measure(new Job(workload, engine, group, records, SecondsOfJobMax, directory));
                    Scratch.Remove(directory);
                }
            }
        }

        void Measure(Job job)
        {
            Figures figures = ChildProcess.Run(job, scratch.Stopping);
            results.Add((job with { Directory = "" }, figures));
            if (job.Workload != Workload.Idle)
            {
                Console.Error.WriteLine(
                    $"round {round}, {job.Workload} by {job.Group}, {job.Engine}: {figures[Figure.Rate]:N0} records/s");
            }
        }
    }
}
