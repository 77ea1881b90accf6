using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

using IotTcpGateway.Configuration;
using IotTcpGateway.Ingest;

using Microsoft.Extensions.Logging;

using Xunit;

namespace IotTcpGateway.Tests.Configuration;

public class ConfigurationSchemaTests
{
    private static readonly JsonSerializerOptions Relaxed = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    [Fact]
    public void Create_IsWhatShipsInDeploy()
    {
        // After a change of the rules: iotgw check --schema > deploy/gateway.schema.json
        JsonNode? shipped = JsonNode.Parse(File.ReadAllText(House.Sources.PathOf("deploy/gateway.schema.json")));
        Assert.True(JsonNode.DeepEquals(shipped, ConfigurationSchema.Create()), "deploy/gateway.schema.json is out of date");
    }

    [Fact]
    public void Create_EveryKey_IsDescribed()
    {
        var missing = new List<string>();
        Visit("", ConfigurationSchema.Create(), missing);
        Assert.Empty(missing);
    }

    [Fact]
    public void Reference_EveryKey_IsThereWithItsDefaultAndMeaning()
    {
        string reference = File.ReadAllText(House.Sources.PathOf("docs/configuration.md"));
        var rows = new List<string>();
        Rows("", ConfigurationSchema.Create(), rows);
        Assert.NotEmpty(rows);
        Assert.All(rows, row => Assert.Contains(row, reference, StringComparison.Ordinal));
    }

    [Fact]
    public void Reference_Example_IsRight()
    {
        string reference = File.ReadAllText(House.Sources.PathOf("docs/configuration.md"));
        string example = reference.Split("```jsonc\n")[1].Split("```")[0];
        string file = Path.GetTempFileName();
        try
        {
            File.WriteAllText(file, example);
            Assert.Empty(ConfigurationReader.Read(file, new Dictionary<string, string>(), []).Faults);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Between_ChangedLimitAndLevel_AreReloadable_AndTheRestNeedsARestart()
    {
        var before = new GatewayConfiguration();
        var after = new GatewayConfiguration
        {
            Listeners = [new ListenerOptions { MaxConnections = 5, Endpoint = "127.0.0.1:1" }],
            Log = new LogOptions { Level = LogLevel.Debug },
        };
        after.Mqtt.Brokers = ["mqtt://x"];
        ConfigurationChange change = ConfigurationChange.Between(before, after);
        Assert.Equal(["listeners.0.maxConnections", "log.level"], change.Reloadable);
        Assert.Equal(["listeners.0.endpoint", "mqtt.brokers"], change.NeedsRestart);
    }

    [Fact]
    public void Between_AnotherListener_NeedsARestart()
    {
        var after = new GatewayConfiguration { Listeners = [new ListenerOptions(), new ListenerOptions { Name = "b" }] };
        ConfigurationChange change = ConfigurationChange.Between(new GatewayConfiguration(), after);
        Assert.Equal(["listeners"], change.NeedsRestart);
        Assert.Empty(change.Reloadable);
    }

    [Fact]
    public void Between_TheSame_IsNothing()
    {
        ConfigurationChange change = ConfigurationChange.Between(new GatewayConfiguration(), new GatewayConfiguration());
        Assert.Empty(change.Reloadable);
        Assert.Empty(change.NeedsRestart);
    }

    private static void Rows(string path, JsonObject schema, List<string> rows)
    {
        foreach ((string key, JsonNode? child) in schema["properties"]?.AsObject() ?? [])
        {
            var below = (JsonObject)child!;
            string full = path.Length == 0 ? key : $"{path}.{key}";
            if (below["properties"] is not null)
                Rows(full, below, rows);
            else if (below["items"]?["properties"] is not null)
                Rows(full + "[]", (JsonObject)below["items"]!, rows);
            else if (key != "$schema")
                rows.Add($"| `{full}` | {Default(below)} | {below["description"]} |");
        }
    }

    private static string Default(JsonObject schema) =>
        schema["default"] is { } value ? $"`{value.ToJsonString(Relaxed).Replace(",", ", ", StringComparison.Ordinal)}`" : "";

    private static void Visit(string path, JsonObject schema, List<string> missing)
    {
        foreach ((string key, JsonNode? child) in schema["properties"]?.AsObject() ?? [])
        {
            var below = (JsonObject)child!;
            if (key != "$schema" && below["description"] is null)
                missing.Add($"{path}.{key}");
            Visit($"{path}.{key}", below, missing);
            if (below["items"] is JsonObject items)
                Visit($"{path}.{key}[]", items, missing);
        }
    }
}
