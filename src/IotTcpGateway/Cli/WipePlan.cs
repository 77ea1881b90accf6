using IotTcpGateway.Buffer;
using IotTcpGateway.Configuration;
using IotTcpGateway.Journal;

namespace IotTcpGateway.Cli;

/// <summary>A file that goes: "key", "secret" or "frames".</summary>
internal sealed record WipedFile(string Kind, string Path, long Bytes);

/// <summary>
/// What this gateway has left on this machine: what of it goes, and what stays because it is not ours to remove. Nothing
/// is changed, and no link is followed.
/// </summary>
internal sealed class WipePlan
{
    /// <summary>Where the service keeps its own things; a secret in there goes too.</summary>
    public const string StateDirectory = "/var/lib/iot-tcp-gateway";

    // Beside the key file: its lock, and what a power cut left of a change.
    private static readonly string[] KeyFileSuffixes = ["", ".lock", ".new"];

    private readonly List<WipedFile> removed = [];
    private readonly List<string> left = [];
    private readonly List<string> folders = [];

    private WipePlan()
    {
    }

    /// <summary>Files that go, secrets first.</summary>
    public IReadOnlyList<WipedFile> Removed => removed;

    /// <summary>What stays, each with its reason.</summary>
    public IReadOnlyList<string> Left => left;

    /// <summary>Folders of ours, inner ones first: they go when they are empty.</summary>
    public IReadOnlyList<string> Folders => folders;

    public long Bytes => removed.Sum(f => f.Bytes);

    /// <summary>Looks.</summary>
    /// <exception cref="IOException">Something cannot be looked at.</exception>
    /// <exception cref="UnauthorizedAccessException">Something may not be looked at.</exception>
    public static WipePlan Of(GatewayConfiguration configuration, string stateDirectory)
    {
        var plan = new WipePlan();
        foreach (string suffix in KeyFileSuffixes)
            plan.Add("key", configuration.Devices.File + suffix);
        foreach ((string key, string? file) in SecretFiles.Of(configuration))
            plan.AddSecret(key, file, stateDirectory);
        plan.AddBuffer(new BufferDirectory(configuration.Buffer.Directory));
        return plan;
    }

    private void AddSecret(string key, string? file, string stateDirectory)
    {
        if (file is null || !Exists(file))
            return;
        if (file.StartsWith(stateDirectory + "/", StringComparison.Ordinal))
            Add("secret", file);
        else
            left.Add($"{file}: the secret of {key} is not in {stateDirectory}: remove it yourself");
    }

    private void AddBuffer(BufferDirectory buffer)
    {
        if (!Directory.Exists(buffer.Path))
            return;
        if (IsLink(buffer.Path))
        {
            left.Add($"{buffer.Path}: it is a link: name the directory itself with --set buffer.directory=…");
            return;
        }

        IReadOnlyList<BufferJournal> journals = buffer.Journals();
        foreach (BufferJournal journal in journals.Where(j => !IsLink(j.Path)))
        {
            foreach (string entry in Directory.EnumerateFileSystemEntries(journal.Path).Order(StringComparer.Ordinal))
                AddIf(JournalFiles.IsOurs(Path.GetFileName(entry)), "frames", entry);
            folders.Add(journal.Path);
        }

        foreach (string entry in Directory.EnumerateFileSystemEntries(buffer.Path).Order(StringComparer.Ordinal))
        {
            // The lock goes last: we hold it.
            if (entry != buffer.LockPath && !folders.Contains(entry))
                AddIf(CustodyFile.IsOurs(Path.GetFileName(entry)), "frames", entry);
        }

        if (File.Exists(buffer.LockPath))
            Add("frames", buffer.LockPath);
        folders.Add(buffer.Path);
    }

    private void AddIf(bool isOurs, string kind, string path)
    {
        if (isOurs && !Directory.Exists(path))
            Add(kind, path);
        else
            left.Add($"{path}: it is not of the gateway");
    }

    private void Add(string kind, string path)
    {
        if (!Exists(path))
            return;
        if (IsLink(path))
            left.Add($"{path}: it is a link: remove it and what it leads to yourself");
        else
            removed.Add(new WipedFile(kind, path, new FileInfo(path).Length));
    }

    private static bool Exists(string path) => Path.Exists(path) || IsLink(path);

    private static bool IsLink(string path) => new FileInfo(path).LinkTarget is not null;
}
