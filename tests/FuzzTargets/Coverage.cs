using System.Reflection;
using System.Text.RegularExpressions;

using SharpFuzz.Common;

namespace IotTcpGateway.Fuzz;

/// <summary>What inputs reach in an assembly instrumented with SHARPFUZZ_ENABLE_ON_BRANCH_CALLBACK set.</summary>
internal static partial class Coverage
{
    private const int CounterBytes = 1 << 16;

    private static readonly Assembly[] Assemblies =
    [
        typeof(IotTcpGateway.Protocol.FrameReader).Assembly, typeof(IotTcpGateway.Journal.RecordJournal).Assembly,
        typeof(IotTcpGateway.Configuration.ConfigurationReader).Assembly, typeof(MQTTnet.MqttClientFactory).Assembly,
    ];

    public static unsafe int Print(FuzzTarget target, IEnumerable<string> folders)
    {
        var branches = new HashSet<int>();
        var reached = new HashSet<string>();
        Trace.OnBranch = (id, signature) =>
        {
            // Some targets have threads.
            lock (branches)
            {
                if (branches.Add(id))
                    reached.Add(NameIn().Match(signature).Groups[1].Value.Replace('/', '+'));
            }
        };
        int inputs = 0;
        fixed (byte* counters = new byte[CounterBytes])
        {
            Trace.SharedMem = counters;
            foreach (string file in folders.SelectMany(Directory.GetFiles))
            {
                target.Run(File.ReadAllBytes(file));
                inputs++;
            }
        }

        string[] all = [.. Assemblies.SelectMany(NamesOf).Where(name => Instrumentation.Covers(target, name)).Distinct().Order()];
        int methods = all.Count(reached.Contains);
        Console.WriteLine($"{inputs} inputs reach {branches.Count} branches in {methods} of {all.Length} methods; not:");
        foreach (string name in all.Where(name => !reached.Contains(name)))
            Console.WriteLine($"  {name}");
        return 0;
    }

    private static IEnumerable<string> NamesOf(Assembly assembly) => assembly.GetTypes()
        .SelectMany(type => type.GetMembers(
            BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static
            | BindingFlags.DeclaredOnly))
        .OfType<MethodBase>()
        .Where(method => method.GetMethodBody() is not null)
        .Select(method => $"{method.DeclaringType!.FullName}::{method.Name}");

    // As in "System.Void Namespace.Type::Method(System.Byte)".
    [GeneratedRegex(@" (\S+::[^(]+)\(")]
    private static partial Regex NameIn();
}
