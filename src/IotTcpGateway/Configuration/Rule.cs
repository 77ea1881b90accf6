using System.Text.Json.Nodes;

namespace IotTcpGateway.Configuration;

/// <summary>What a place in the configuration may hold: how it is read, described, and set from a line of text.</summary>
internal abstract class Rule
{
    /// <summary>What would be right here, to follow "must be".</summary>
    public abstract string Expected { get; }

    /// <summary>The JSON Schema of this place.</summary>
    public abstract JsonObject Schema();

    /// <summary>What text from the environment or the command line stands for.</summary>
    public virtual JsonNode FromText(string text) => JsonValue.Create(text);

    /// <summary>The rule one level down, with the key's right spelling; null if there is none.</summary>
    public virtual (Rule Rule, string Key)? Child(string segment) => null;

    /// <summary>Keys one level down, for suggestions.</summary>
    public virtual IEnumerable<string> Keys => [];

    /// <summary>The node with relative paths made absolute against a directory.</summary>
    public virtual JsonNode? Rooted(JsonNode? node, string directory) => node?.DeepClone();
}

/// <summary>A rule that reads a value.</summary>
internal abstract class Rule<T> : Rule
{
    /// <summary>Reads a node; adds what is wrong to the faults and answers false then.</summary>
    public abstract bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out T value);

    /// <summary>A value as it would be written in a file; null if there is nothing to show.</summary>
    public virtual JsonNode? Write(T value) => null;

    protected bool Fail(JsonNode? node, string path, List<ConfigurationFault> faults)
    {
        faults.Add(new ConfigurationFault(path, $"{Shown(node)} is not right here", $"it must be {Expected}"));
        return false;
    }

    private static string Shown(JsonNode? node)
    {
        string text = node?.ToJsonString() ?? "null";
        return text.Length <= 60 ? text : text[..57] + "...";
    }
}
