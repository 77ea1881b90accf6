using System.Text.Json;
using System.Text.Json.Nodes;

namespace IotTcpGateway.Configuration;

/// <summary>
/// The path of a file; of one that is only read, a credential may stand in its place. What is read is an absolute path.
/// </summary>
internal sealed class PathRule(string what, bool isWritten = false) : Rule<string>
{
    public override string Expected => $"the path of {what}" + (isWritten ? "" : $", or {Credential.Mark}NAME");

    public override JsonObject Schema()
    {
        var schema = new JsonObject { ["type"] = "string" };
        if (!isWritten)
            schema["examples"] = new JsonArray(Credential.Mark + "NAME");
        return schema;
    }

    public override JsonNode? Write(string value) => value.Length > 0 ? JsonValue.Create(value) : null;

    public override bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out string value)
    {
        value = "";
        if (node?.GetValueKind() != JsonValueKind.String || node.GetValue<string>().Length == 0)
            return Fail(node, path, faults);
        value = node.GetValue<string>();
        if (!Credential.IsNamedBy(value))
            return true;
        if (isWritten)
            return Fail(node, path, faults);
        if (Credential.Find(path, value, out value) is not { } fault)
            return true;
        // The rest of its section is right all the same.
        faults.Add(fault);
        value = node.GetValue<string>();
        return fault.IsOfFile;
    }

    public override JsonNode? Rooted(JsonNode? node, string directory) =>
        node?.GetValueKind() == JsonValueKind.String && node.GetValue<string>() is { Length: > 0 } text && !Credential.IsNamedBy(text)
            ? JsonValue.Create(Path.GetFullPath(text, directory))
            : base.Rooted(node, directory);
}
