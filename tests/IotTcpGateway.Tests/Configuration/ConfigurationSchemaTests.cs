using System.Text.Json.Nodes;

using IotTcpGateway.Configuration;
using IotTcpGateway.Ingest;

using Microsoft.Extensions.Logging;

using Xunit;

namespace IotTcpGateway.Tests.Configuration;

public class ConfigurationSchemaTests
{
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
