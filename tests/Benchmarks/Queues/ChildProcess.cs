using System.Diagnostics;
using System.Globalization;

namespace IotTcpGateway.Benchmarks.Queues;

internal enum Workload
{
    Idle,
    Append,
    Queue,
    Build,
    Recovery,
}

/// <summary>What a child process is to do.</summary>
/// <param name="Workload">What to measure.</param>
/// <param name="Engine">One of <see cref="Engines"/>.</param>
/// <param name="Group">Records a commit.</param>
/// <param name="Records">Records in all.</param>
/// <param name="SecondsMax">Fewer records when it takes longer.</param>
/// <param name="Directory">An empty directory, or the journal to recover.</param>
internal sealed record Job(
    Workload Workload, string Engine, int Group, int Records, double SecondsMax, string Directory)
{
    public static Job Parse(string[] args) => new(
        Enum.Parse<Workload>(args[0]),
        args[1],
        int.Parse(args[2], CultureInfo.InvariantCulture),
        int.Parse(args[3], CultureInfo.InvariantCulture),
        double.Parse(args[4], CultureInfo.InvariantCulture),
        args[5]);

    public string[] ToArguments() =>
    [
        Workload.ToString(),
        Engine,
        Group.ToString(CultureInfo.InvariantCulture),
        Records.ToString(CultureInfo.InvariantCulture),
        SecondsMax.ToString(CultureInfo.InvariantCulture),
        Directory,
    ];
}

/// <summary>This program once more, for one job.</summary>
internal static class ChildProcess
{
    public const string Verb = "child";

    public static Figures Run(Job job, CancellationToken stopping)
    {
        stopping.ThrowIfCancellationRequested();
        string program = Environment.ProcessPath!;
        bool isHost = Path.GetFileNameWithoutExtension(program) == "dotnet";
        string[] library = isHost ? [typeof(ChildProcess).Assembly.Location] : [];
        var start = new ProcessStartInfo(program, [.. library, Verb, .. job.ToArguments()])
        {
            RedirectStandardOutput = true,
            // As near as may be to the gateway, which is compiled before it starts and collects in the foreground.
            Environment = { ["DOTNET_TieredCompilation"] = "0", ["DOTNET_gcConcurrent"] = "0" },
        };
        using Process process = Process.Start(start)!;
        using CancellationTokenRegistration kill = stopping.Register(process.Kill);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        stopping.ThrowIfCancellationRequested();
        if (process.ExitCode != 0)
            throw new IOException($"a child process failed with exit code {process.ExitCode}: {job}");
        return Figures.Parse(output);
    }
}
