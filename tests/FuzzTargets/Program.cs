using IotTcpGateway.Fuzz;

using SharpFuzz;

const string Usage = """
    IotTcpGateway.Fuzz TARGET                    runs a target; only the libFuzzer driver starts it like this
    IotTcpGateway.Fuzz replay TARGET FILE...     runs a target once on each file
    IotTcpGateway.Fuzz instrument TARGET FOLDER  rewrites assemblies there so that they report the target's branches
    IotTcpGateway.Fuzz coverage TARGET DIR...    names the methods of the instrumented assemblies not reached
    IotTcpGateway.Fuzz list                      names the targets
    """;

switch (args)
{
    case ["list"]:
        Console.WriteLine(string.Join('\n', FuzzTargets.All.Keys));
        return 0;
    case ["instrument", string name, string folder] when FuzzTargets.All.TryGetValue(name, out FuzzTarget? target):
        Instrumentation.Instrument(target, folder);
        return 0;
    case ["replay", string name, _, ..] when FuzzTargets.All.TryGetValue(name, out FuzzTarget? target):
        // A failure is to be seen with its stack: nothing is caught here.
        // Twice, for some timing is another when the code is there already.
        foreach (string file in args[2..].Concat(args[2..]))
            target.Run(File.ReadAllBytes(file));
        return 0;
    case ["coverage", string name, _, ..] when FuzzTargets.All.TryGetValue(name, out FuzzTarget? target):
        return Coverage.Print(target, args[2..]);
    case [string name] when FuzzTargets.All.TryGetValue(name, out FuzzTarget? target):
        Fuzzer.LibFuzzer.Run(input => target.Run(input));
        return 0;
    default:
        Console.Error.WriteLine(Usage);
        return 2;
}
