using BenchmarkDotNet.Running;

using IotTcpGateway.Benchmarks.Queues;

// dotnet run -c Release --project tests/Benchmarks -- --filter '*' [--job short]     the codec
// dotnet run -c Release --project tests/Benchmarks -- journal [--help]               the journal beside SQLite
// dotnet run -c Release --project tests/Benchmarks -- recovery [--help]              the start on 1 GiB of journal
return args switch
{
    ["journal", .. string[] options] => Comparison.Run(options),
    ["recovery", .. string[] options] => RecoveryFigures.Run(options),
    [ChildProcess.Verb, .. string[] job] => Workloads.Run(Job.Parse(job)),
    _ => Codec(args),
};

// Apart, so that the children do not load what they do not use.
static int Codec(string[] args)
{
    BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args);
    return 0;
}
