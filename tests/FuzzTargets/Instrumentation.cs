using SharpFuzz;

namespace IotTcpGateway.Fuzz;

/// <summary>
/// Which code reports its branches: that of the target alone. The counters are few, and what else runs would only cover
/// what leads somewhere.
/// </summary>
internal static class Instrumentation
{
    private static readonly string[] Assemblies = ["IotTcpGateway.Protocol", "IotTcpGateway.Journal", "iotgw", "MQTTnet"];

    public static void Instrument(FuzzTarget target, string folder)
    {
        foreach (string assembly in Assemblies)
        {
            if (target.Namespaces.Any(n => n.StartsWith(NamespaceOf(assembly), StringComparison.Ordinal)))
                Fuzzer.Instrument(Path.Combine(folder, assembly + ".dll"), type => Covers(target, type), Options.Value);
        }
    }

    public static bool Covers(FuzzTarget target, string typeName) =>
        target.Namespaces.Any(n => typeName.StartsWith(n, StringComparison.Ordinal));

    private static string NamespaceOf(string assembly) => assembly == "iotgw" ? "IotTcpGateway" : assembly;
}
