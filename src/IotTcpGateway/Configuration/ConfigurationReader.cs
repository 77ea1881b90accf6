using System.Collections;
using System.Text.Json.Nodes;

namespace IotTcpGateway.Configuration;

/// <summary>What was read: the configuration, or what is wrong with it.</summary>
internal sealed record ConfigurationResult(
    GatewayConfiguration Configuration, IReadOnlyList<ConfigurationFault> Faults, IReadOnlyList<string> Files)
{
    /// <summary>The first fault that matters to a verb that needs none of the files named; null if there is none.</summary>
    public ConfigurationFault? FaultBesidesFiles => Faults.FirstOrDefault(fault => !fault.IsOfFile);
}

/// <summary>Merges the files, the environment and the command line into one configuration, in this order.</summary>
internal static class ConfigurationReader
{
    public const string DefaultFile = "/etc/iot-tcp-gateway/gateway.json";
    public const string EnvironmentPrefix = "IOTGW__";

    // Asked once, before the process puts a cap on its own heap: afterwards the collector takes that for the machine.
    private static readonly long MachineMemoryBytes = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;

    /// <summary>Reads everything; all faults are gathered, not only the first.</summary>
    /// <param name="file">The main file; conf.d/*.json beside it follow in name order. Null: the default file if it exists.</param>
    /// <param name="environment">Variables, of which those with the prefix count.</param>
    /// <param name="settings">"key.path=value" of the command line.</param>
    public static ConfigurationResult Read(string? file, IDictionary environment, IEnumerable<string> settings)
    {
        var faults = new List<ConfigurationFault>();
        var merged = new JsonObject();
        List<string> files = FilesOf(file, faults);
        foreach (string one in files)
            Merge(merged, ReadFile(one, faults));
        foreach (DictionaryEntry variable in environment)
        {
            if (variable.Key is string name && name.StartsWith(EnvironmentPrefix, StringComparison.Ordinal))
                Set(merged, name, name[EnvironmentPrefix.Length..].Split("__"), (string?)variable.Value ?? "", faults);
        }

        foreach (string setting in settings)
        {
            int equals = setting.IndexOf('=');
            if (equals > 0)
                Set(merged, $"--set {setting[..equals]}", setting[..equals].Split('.'), setting[(equals + 1)..], faults);
            else
                faults.Add(new ConfigurationFault($"--set {setting}", "there is no value", "write it as --set mqtt.username=NAME"));
        }

        GatewayRules.Root.TryRead(merged, "", faults, out GatewayConfiguration configuration);
        GatewayDefaults.Fill(configuration);
        if (faults.TrueForAll(fault => fault.IsOfFile))
        {
            HashSet<string> told = [.. faults.Select(fault => fault.Path)];
            faults.AddRange(CrossRules.Check(configuration, MachineMemoryBytes).Where(fault => !told.Contains(fault.Path)));
            if (!Protocol.Names.IsDeviceId(System.Text.Encoding.UTF8.GetBytes(configuration.Gateway.Id)))
                faults.Add(new ConfigurationFault("gateway.id", $"the host name \"{configuration.Gateway.Id}\" cannot be part of a topic", "set gateway.id"));
        }

        return new ConfigurationResult(configuration, faults, files);
    }

    private static List<string> FilesOf(string? file, List<ConfigurationFault> faults)
    {
        string main = Path.GetFullPath(file ?? DefaultFile);
        var files = new List<string>();
        if (File.Exists(main))
            files.Add(main);
        else if (file is not null)
            faults.Add(new ConfigurationFault(main, "there is no such file", "name the configuration with --config, or leave it out"));
        string directory = Path.Combine(Path.GetDirectoryName(main)!, "conf.d");
        if (Directory.Exists(directory))
            files.AddRange(Directory.GetFiles(directory, "*.json").Order(StringComparer.Ordinal));
        return files;
    }

    private static JsonObject ReadFile(string file, List<ConfigurationFault> faults)
    {
        try
        {
            int before = faults.Count;
            JsonNode? node = JsonText.Parse(file, File.ReadAllBytes(file), faults);
            if (GatewayRules.Root.Rooted(node, Path.GetDirectoryName(file)!) is JsonObject section)
                return section;
            if (faults.Count == before)
                faults.Add(new ConfigurationFault(file, "it is not an object", "put everything between { and }"));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            faults.Add(new ConfigurationFault(file, "it cannot be read: " + e.Message, "let the gateway's user read it"));
        }

        return [];
    }

    // Objects are merged key by key; anything else replaces what was there.
    private static void Merge(JsonObject into, JsonObject from)
    {
        foreach ((string key, JsonNode? value) in from)
        {
            if (value is JsonObject section && into[key] is JsonObject existing)
                Merge(existing, section);
            else
                into[key] = value?.DeepClone();
        }
    }

    private static void Set(JsonObject root, string origin, string[] segments, string text, List<ConfigurationFault> faults)
    {
        // First the whole way, then the change: half a way would be a fault of its own.
        List<(Rule Rule, string Key)> way = [];
        Rule rule = GatewayRules.Root;
        foreach (string segment in segments)
        {
            if (rule.Child(segment) is not { } child)
            {
                faults.Add(rule.Keys.Any()
                    ? SectionRule<GatewayConfiguration>.Unknown(origin, segment, rule.Keys)
                    : new ConfigurationFault(origin, $"\"{segment}\" leads nowhere", $"what stands before it is {rule.Expected}"));
                return;
            }

            way.Add(child);
            rule = child.Rule;
        }

        JsonNode parent = root;
        foreach ((Rule step, string key) in way.SkipLast(1))
        {
            // A list in place of a section: reading says what would be right.
            if (Below(parent, key, isList: !step.Keys.Any()) is not { } below)
                return;
            parent = below;
        }

        Put(parent, way[^1].Key, rule.Rooted(rule.FromText(text), Environment.CurrentDirectory));
    }

    private static JsonNode? Below(JsonNode parent, string key, bool isList)
    {
        JsonNode? existing = parent is JsonArray array
            ? array.ElementAtOrDefault(int.Parse(key, System.Globalization.CultureInfo.InvariantCulture))
            : parent[key];
        if (existing is JsonObject or JsonArray)
            return existing is JsonArray == isList ? existing : null;
        JsonNode made = isList ? new JsonArray() : new JsonObject();
        Put(parent, key, made);
        return made;
    }

    private static void Put(JsonNode parent, string key, JsonNode? value)
    {
        if (parent is not JsonArray array)
        {
            parent[key] = value;
            return;
        }

        // An index beyond the end adds to the end.
        int index = int.Parse(key, System.Globalization.CultureInfo.InvariantCulture);
        if (index < array.Count)
            array[index] = value;
        else
            array.Add(value);
    }
}
