using System.Text.Json.Nodes;

namespace IotTcpGateway.Configuration;

/// <summary>The JSON Schema of the configuration, made from the rules that read it.</summary>
internal static class ConfigurationSchema
{
    public static JsonObject Create()
    {
        JsonObject schema = GatewayRules.Root.Schema();
        ((JsonObject)schema["properties"]!)["$schema"] = new JsonObject { ["type"] = "string" };
        schema.Insert(0, "$schema", "https://json-schema.org/draft/2020-12/schema");
        schema.Insert(1, "title", "IotTcpGateway configuration");
        return schema;
    }
}
