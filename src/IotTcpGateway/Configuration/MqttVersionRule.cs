using System.Text.Json;
using System.Text.Json.Nodes;

namespace IotTcpGateway.Configuration;

/// <summary>5, or "3.1.1", which is no number.</summary>
internal sealed class MqttVersionRule : Rule<string>
{
    public override string Expected => "5 or \"3.1.1\"";

    public override JsonObject Schema() => new() { ["enum"] = new JsonArray(5, "3.1.1") };

    public override JsonNode FromText(string text) => text == "5" ? JsonValue.Create(5) : JsonValue.Create(text);

    public override JsonNode? Write(string value) => FromText(value);

    public override bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out string value)
    {
        value = node?.GetValueKind() is JsonValueKind.String or JsonValueKind.Number ? node.ToString() : "";
        return value is "5" or "3.1.1" || Fail(node, path, faults);
    }
}
