using System.Text.RegularExpressions;

using Xunit;

namespace IotTcpGateway.Tests.House;

/// <summary>Holds the arrows between the folders, and other habits that a compiler does not see.</summary>
public partial class HouseTests
{
    // Who may use whom, of the executable's folders and the libraries. The root's Gateway.cs and Cli put it all together.
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Buffer"] = ["Files", "Journal", "Protocol"],
        ["Commands"] = ["Protocol"],
        ["Configuration"] = ["Buffer", "Forward", "Health", "Ingest", "Protocol", "Tls"],
        ["Demo"] = ["Configuration", "DeviceClient", "Health", "Ingest", "Keys", "Protocol"],
        ["Escaping"] = [],
        ["Files"] = [],
        ["Forward"] = ["Buffer", "Commands", "Escaping", "Protocol", "Time"],
        ["Health"] = ["Escaping", "Files", "Time"],
        ["Ingest"] = ["Buffer", "Commands", "Keys", "Protocol", "Time", "Tls"],
        ["Keys"] = ["Escaping", "Files", "Protocol"],
        ["Time"] = ["Buffer"],
        ["Tls"] = [],
    };

    [Fact]
    public void Folders_UseOnlyWhomTheyMay()
    {
        var wrong = new List<string>();
        foreach ((string folder, string[] allowed) in Allowed)
        {
            foreach (string file in Sources.In($"src/IotTcpGateway/{folder}"))
            {
                wrong.AddRange(Used(File.ReadAllText(file))
                    .Where(used => used != folder && !allowed.Contains(used))
                    .Select(used => $"{Path.GetRelativePath(Sources.Root, file)} uses {used}"));
            }
        }

        Assert.Empty(wrong);
    }

    [Fact]
    public void Folders_AreAllNamedHere()
    {
        IEnumerable<string> folders = Directory.EnumerateDirectories(Sources.PathOf("src/IotTcpGateway"))
            .Select(d => Path.GetFileName(d)!)
            .Where(d => d is not ("bin" or "obj" or "Cli"));
        Assert.Equal(Allowed.Keys.Order(), folders.Order());
    }

    [Fact]
    public void Arrows_MakeNoCircle()
    {
        var done = new HashSet<string>();
        foreach (string folder in Allowed.Keys)
            Walk(folder, []);

        void Walk(string folder, List<string> path)
        {
            Assert.DoesNotContain(folder, path);
            if (!Allowed.TryGetValue(folder, out string[]? next) || !done.Add(folder))
                return;
            foreach (string one in next)
                Walk(one, [.. path, folder]);
        }
    }

    [Theory]
    [InlineData("src/IotTcpGateway.Protocol", "IotTcpGateway.Protocol")]
    [InlineData("src/IotTcpGateway.Journal", "IotTcpGateway.Journal")]
    [InlineData("src/IotTcpGateway.DeviceClient", "IotTcpGateway.DeviceClient|IotTcpGateway.Protocol")]
    public void Libraries_UseOnlyWhomTheyMay(string folder, string allowed)
    {
        IEnumerable<string> wrong = Sources.In(folder).SelectMany(f => UsedNamespace().Matches(File.ReadAllText(f)))
            .Select(m => m.Groups[1].Value)
            .Where(ns => !ns.StartsWith("System", StringComparison.Ordinal)
                && !ns.StartsWith("Microsoft.Win32", StringComparison.Ordinal) && !allowed.Split('|').Contains(ns));
        Assert.Empty(wrong);
    }

    [Theory]
    [InlineData("MQTTnet", "Forward|Demo")]
    [InlineData("System.Device", "Sensors")]
    [InlineData("Microsoft.AspNetCore", "Health")]
    [InlineData("Spectre.Console", "Cli")]
    [InlineData("System.CommandLine", "Cli")]
    public void Packages_AreUsedWhereTheyBelong(string package, string folders)
    {
        IEnumerable<string> wrong = Sources.In("src/IotTcpGateway")
            .Where(f => UsedNamespace().Matches(File.ReadAllText(f)).Any(m => m.Groups[1].Value.StartsWith(package, StringComparison.Ordinal)))
            .Select(f => Path.GetRelativePath(Sources.PathOf("src/IotTcpGateway"), f))
            .Where(f => !folders.Split('|').Contains(f.Split('/')[0]));
        Assert.Empty(wrong);
    }

    [Fact]
    public void EventIds_AreUnique()
    {
        IEnumerable<IGrouping<string, string>> twice = Sources.In("src")
            .SelectMany(f => EventId().Matches(File.ReadAllText(f)).Select(m => (Id: m.Groups[1].Value, File: f)))
            .GroupBy(e => e.Id, e => e.File)
            .Where(g => g.Count() > 1);
        Assert.Empty(twice.Select(g => $"{g.Key}: {string.Join(", ", g)}"));
    }

    [Fact]
    public void Metrics_AreDocumented()
    {
        string documented = File.ReadAllText(Sources.PathOf("docs/metrics.md"));
        IEnumerable<string> missing = Sources.In("src/IotTcpGateway")
            .SelectMany(f => MetricName().Matches(File.ReadAllText(f)).Select(m => m.Groups[1].Value))
            .Distinct()
            .Where(name => !documented.Contains($"`{name}", StringComparison.Ordinal));
        Assert.Empty(missing);
    }

    private static IEnumerable<string> Used(string source) => OwnNamespace().Matches(source)
        .Select(m => m.Groups[1].Value)
        .Distinct();

    [GeneratedRegex(@"(?<!namespace )IotTcpGateway\.([A-Z]\w+)")]
    private static partial Regex OwnNamespace();

    [GeneratedRegex(@"^using (?:static )?([\w.]+);", RegexOptions.Multiline)]
    private static partial Regex UsedNamespace();

    [GeneratedRegex(@"LoggerMessage\(\s*(\d+)")]
    private static partial Regex EventId();

    [GeneratedRegex("\"(iotgw_[a-z_]+)\"")]
    private static partial Regex MetricName();
}
