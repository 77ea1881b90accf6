using System.Diagnostics;

namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>How long a start takes on a large journal, and how much memory.</summary>
internal static class RecoveryFigures
{
    private const int Group = 64;
    // With its headers and padding.
    private const int RecordBytes = Workloads.PayloadBytes + 24;
    private const double SecondsOfBuildMax = 40;
    private const double SecondsOfEngineMax = 50;

    private const string Help = """
        recovery: the start of the journal on 1 GiB of unconfirmed records of 200 bytes, cold and cached

          --directory DIR   on the disk to be measured; what is made there is removed (default: here)
          --mebibytes N     of journal (default 1024); fewer if the disk needs more than 40 s for it
          --rounds N        cold ones, and as many cached ones (default 5); one of each when time runs out at two minutes

        dotnet run -c Release --project tests/Benchmarks -- recovery --directory /var/tmp
        """;

    public static int Run(string[] args) => Arguments.Run(args, Help, Measure);

    private static void Measure(Arguments arguments)
    {
        long bytes = (long)arguments.MebibytesMax << 20;
        using var scratch = new Scratch(arguments.Directory, bytes + (bytes / 4));
        Console.WriteLine(ComparisonTable.Head(arguments.Directory));
        var watch = Stopwatch.StartNew();
        foreach (string engine in (string[])[Engines.Journal, Engines.JournalWithoutZeros])
            Measure(engine, (int)(bytes / RecordBytes), arguments.Rounds, scratch);
        Console.WriteLine($"{watch.Elapsed.TotalSeconds:F0} s in all");
    }

    private static void Measure(string engine, int records, int rounds, Scratch scratch)
    {
        string directory = scratch.Make();
        var watch = Stopwatch.StartNew();
        Console.Error.WriteLine($"{engine}: writing");
        Figures built = ChildProcess.Run(
            new Job(Workload.Build, engine, Group, records, SecondsOfBuildMax, directory), scratch.Stopping);
        double written = built[Figure.Records];
        Console.WriteLine(
            $"\n{engine}: {written:N0} records, {written * RecordBytes / (1 << 20):N0} MiB of them, {Group} a commit, "
            + $"{built[Figure.Rate]:N0} records/s\n"
            + $"  reached the device: {built[Figure.DeviceBytes] / written:N0} B a record, "
            + $"written by the program: {built[Figure.WrittenBytes] / written:N0} B");
        foreach (bool isCold in (bool[])[true, false])
        {
            var opened = new List<Figures>();
            for (int i = 0; i < rounds && (i == 0 || watch.Elapsed.TotalSeconds < SecondsOfEngineMax); i++)
            {
                opened.Add(ChildProcess.Run(
                    new Job(Workload.Recovery, engine, isCold ? 0 : 1, (int)written, 0, directory), scratch.Stopping));
                Console.Error.WriteLine($"{engine}: opened in {opened[^1][Figure.OpenSeconds]:N2} s");
            }

            Print(isCold, opened);
        }

        Scratch.Remove(directory);
    }

    private static void Print(bool isCold, List<Figures> opened)
    {
        double[] seconds = [.. opened.Select(f => f[Figure.OpenSeconds])];
        Console.WriteLine(
            $"{(isCold ? "pages dropped (posix_fadvise)" : "cached")}: opened in {Median(Figure.OpenSeconds):N2} s "
            + $"({seconds.Min():N2}–{seconds.Max():N2}), {Median(Figure.ReadBytes) / (1 << 20):N0} MiB from the device\n"
            + $"  resident at its peak {Median(Figure.PeakKibibytes) / 1024:N1} MiB, "
            + $"{Median(Figure.GrownKibibytes) / 1024:N1} more than before; "
            + $"{Median(Figure.AllocatedBytes) / 1024:N0} KiB allocated\n"
            + $"  then read back: {Median(Figure.ReplayCached):N0} records/s cached, "
            + $"{Median(Figure.ReplayFromDisk):N0} with pages dropped");

        double Median(Figure figure) => ComparisonTable.Median(opened.Select(f => f[figure]));
    }
}
