using System.Text.Json.Nodes;

using IotTcpGateway.Ingest;

namespace IotTcpGateway.Configuration;

/// <summary>What differs between the configuration in force and a new one.</summary>
/// <param name="Reloadable">Paths that take effect at once.</param>
/// <param name="NeedsRestart">Paths that take effect at the next start.</param>
internal sealed record ConfigurationChange(IReadOnlyList<string> Reloadable, IReadOnlyList<string> NeedsRestart)
{
    private static readonly HashSet<string> FixedOfListener = ["name", "endpoint", "protocol", "maxBody"];

    public static ConfigurationChange Between(GatewayConfiguration before, GatewayConfiguration after)
    {
        var changed = new List<string>();
        Compare("", GatewayRules.Root.Write(before), GatewayRules.Root.Write(after), changed);
        return new ConfigurationChange([.. changed.Where(IsReloadable)], [.. changed.Where(path => !IsReloadable(path))]);
    }

    /// <summary>
    /// The listeners in force after a reload: those of before with the limits of the new ones of the same name. What
    /// needs a restart stays as it is, so that a second reload names it again.
    /// </summary>
    public static List<ListenerOptions> Reloaded(IEnumerable<ListenerOptions> before, List<ListenerOptions> after) =>
    [
        .. before.Select(old =>
        {
            if (after.Find(changed => changed.Name == old.Name) is not { } taken)
                return old;
            (taken.Endpoint, taken.Protocol, taken.MaxBody) = (old.Endpoint, old.Protocol, old.MaxBody);
            // Whether there is TLS stays; its files and limits do not.
            if (old.Tls is null || taken.Tls is null)
                taken.Tls = old.Tls;
            return taken;
        }),
    ];

    private static bool IsReloadable(string path)
    {
        string[] levels = path.Split('.');
        return path == "log.level" || (levels is ["listeners", _, var key, ..]
            && !FixedOfListener.Contains(key) && levels is not ["listeners", _, "tls"]);
    }

    private static void Compare(string path, JsonNode? before, JsonNode? after, List<string> changed)
    {
        if (before is JsonObject one && after is JsonObject other)
        {
            foreach (string key in one.Select(p => p.Key).Union(other.Select(p => p.Key)))
                Compare(path.Length == 0 ? key : $"{path}.{key}", one[key], other[key], changed);
        }
        else if (before is JsonArray { Count: var count } list && after is JsonArray others && count == others.Count
            && list.All(item => item is JsonObject))
        {
            for (int i = 0; i < count; i++)
                Compare($"{path}.{i}", list[i], others[i], changed);
        }
        else if (!JsonNode.DeepEquals(before, after))
        {
            changed.Add(path);
        }
    }
}
