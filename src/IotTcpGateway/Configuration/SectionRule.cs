using System.Text.Json.Nodes;

namespace IotTcpGateway.Configuration;

/// <summary>An object with known keys.</summary>
internal sealed class SectionRule<T> : Rule<T>
    where T : class, new()
{
    private readonly List<Key> keys = [];

    public override string Expected => "an object with the keys " + string.Join(", ", keys.Select(k => k.Name));

    public override IEnumerable<string> Keys => keys.Select(k => k.Name);

    /// <summary>Adds a key.</summary>
    public SectionRule<T> With<TValue>(
        string name, Rule<TValue> rule, Func<T, TValue?> get, Action<T, TValue> set, string description)
    {
        keys.Add(new Key(name, rule, description, Apply, section => get(section) is { } value ? rule.Write(value) : null));
        return this;

        void Apply(T section, JsonNode? node, string path, List<ConfigurationFault> faults)
        {
            if (rule.TryRead(node, path, faults, out TValue value))
                set(section, value);
        }
    }

    public override JsonObject Schema()
    {
        var properties = new JsonObject();
        var defaults = new T();
        foreach (Key key in keys)
        {
            JsonObject schema = key.Rule.Schema();
            schema["description"] = key.Description;
            if (key.Rule is not { Keys: var below } || !below.Any())
                schema["default"] = key.Write(defaults);
            if (schema["default"] is null)
                schema.Remove("default");
            properties[key.Name] = schema;
        }

        return new JsonObject { ["type"] = "object", ["additionalProperties"] = false, ["properties"] = properties };
    }

    public override (Rule Rule, string Key)? Child(string segment) =>
        keys.Find(k => k.Name.Equals(segment, StringComparison.OrdinalIgnoreCase)) is { } key ? (key.Rule, key.Name) : null;

    public override JsonNode? Write(T value)
    {
        var section = new JsonObject();
        foreach (Key key in keys)
        {
            // A key without a value is left out: null would be refused.
            if (key.Write(value) is { } written)
                section[key.Name] = written;
        }

        return section;
    }

    public override bool TryRead(JsonNode? node, string path, List<ConfigurationFault> faults, out T value)
    {
        value = new T();
        if (node is not JsonObject section)
            return Fail(node, path, faults);
        int before = faults.Count;
        string prefix = path.Length == 0 ? "" : path + ".";
        foreach ((string name, JsonNode? child) in section)
        {
            if (keys.Find(k => k.Name == name) is { } key)
                key.Apply(value, child, prefix + name, faults);
            else if (name != "$schema" || path.Length > 0)
                faults.Add(Unknown(name.Length == 0 ? prefix + "\"\"" : prefix + name, name, Keys));
        }

        return !faults.Skip(before).Any(fault => !fault.IsOfFile);
    }

    public override JsonNode FromText(string text)
    {
        // Reading what is no JSON says what would be right.
        return JsonText.Parse(text) ?? JsonValue.Create(text);
    }

    public override JsonNode? Rooted(JsonNode? node, string directory)
    {
        if (node is not JsonObject section)
            return base.Rooted(node, directory);
        var rooted = new JsonObject();
        foreach ((string name, JsonNode? child) in section)
            rooted[name] = keys.Find(k => k.Name == name) is { } key ? key.Rule.Rooted(child, directory) : child?.DeepClone();
        return rooted;
    }

    internal static ConfigurationFault Unknown(string path, string name, IEnumerable<string> known)
    {
        List<string> all = [.. known];
        return new ConfigurationFault(
            path,
            "unknown key",
            Suggestion.For(name, all) is { } near ? $"did you mean \"{near}\"?" : $"known here are {string.Join(", ", all)}");
    }

    private sealed record Key(
        string Name,
        Rule Rule,
        string Description,
        Action<T, JsonNode?, string, List<ConfigurationFault>> Apply,
        Func<T, JsonNode?> Write);
}
