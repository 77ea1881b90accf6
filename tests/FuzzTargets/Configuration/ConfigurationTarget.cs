using System.Collections;
using System.Text;

using IotTcpGateway.Configuration;
using IotTcpGateway.Fuzz.Protocol;

namespace IotTcpGateway.Fuzz.Configuration;

/// <summary>
/// A file, and lines of environment and command line: reading never throws, a fault says where and what, and what is
/// accepted is the same when it is written and read again.
/// </summary>
/// <remarks>
/// Input: parts with a NUL between. The first is the file; of the others those that begin with IOTGW__ are variables
/// (name=value), the rest is what follows --set.
/// </remarks>
internal static class ConfigurationTarget
{
    private static readonly string File = ScratchFiles.New("gateway.json");

    public static void Run(ReadOnlySpan<byte> input)
    {
        string[] parts = [];
        int end = input.IndexOf((byte)0);
        if (end >= 0)
            parts = Encoding.UTF8.GetString(input[(end + 1)..]).Split('\0');
        ConfigurationResult read = Read(end >= 0 ? input[..end] : input, parts);
        foreach (ConfigurationFault fault in read.Faults)
            CheckFault(fault);
        if (read.Faults.Count > 0)
            return;

        string written = GatewayRules.Root.Write(read.Configuration)!.ToJsonString();
        ConfigurationResult again = Read(Encoding.UTF8.GetBytes(written), []);
        Require.That(again.Faults.Count == 0, $"{written} is refused: {string.Join(' ', again.Faults)}");
        string writtenAgain = GatewayRules.Root.Write(again.Configuration)!.ToJsonString();
        Require.That(written == writtenAgain, $"{written} became {writtenAgain}");
        ConfigurationChange change = ConfigurationChange.Between(read.Configuration, again.Configuration);
        Require.That(change.Reloadable.Count + change.NeedsRestart.Count == 0, "it differs from itself");
        foreach (string warning in CrossRules.Warnings(read.Configuration))
            Require.That(warning.Length > 0, "an empty warning");
    }

    private static ConfigurationResult Read(ReadOnlySpan<byte> content, string[] parts)
    {
        ScratchFiles.Write(File, content);
        var environment = new Hashtable();
        List<string> settings = [];
        foreach (string part in parts)
        {
            int equals = part.IndexOf('=');
            if (equals > 0 && part.StartsWith(ConfigurationReader.EnvironmentPrefix, StringComparison.Ordinal))
                environment[part[..equals]] = part[(equals + 1)..];
            else
                settings.Add(part);
        }

        return ConfigurationReader.Read(File, environment, settings);
    }

    private static void CheckFault(ConfigurationFault fault)
    {
        Require.That(fault.Path.Length > 0, $"a fault without a place: {fault}");
        Require.That(fault.Problem.Length > 0 && fault.Remedy.Length > 0, $"a fault without words: {fault}");
        Require.That(!fault.ToString().Any(char.IsControl), "a fault that is not one line");
    }
}
