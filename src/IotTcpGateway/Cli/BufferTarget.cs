using System.CommandLine;

using IotTcpGateway.Buffer;
using IotTcpGateway.Configuration;
using IotTcpGateway.Files;
using IotTcpGateway.Journal;
using IotTcpGateway.Time;

namespace IotTcpGateway.Cli;

/// <summary>The options by which a verb finds a buffer's directory.</summary>
internal sealed class BufferTarget
{
    private readonly ConfigurationOptions options = new();

    private readonly Option<string?> directory = new("--directory")
    {
        Description = "The buffer's directory, instead of the configuration's.",
        HelpName = "DIR",
    };

    public void AddTo(Command command)
    {
        command.Options.Add(directory);
        options.AddTo(command);
    }

    /// <summary>Acts on the directory; says what is wrong if it cannot be found or read.</summary>
    public async Task<int> UseAsync(ParseResult parsed, Func<LookedAtBuffer, Task<int>> act)
    {
        ConfigurationResult result = options.Read(parsed);
        if (result.FaultBesidesFiles is { } fault)
            return CommandLine.Fail(ExitCode.Bad, $"the configuration is bad: {fault}");
        var found = new BufferDirectory(Path.GetFullPath(parsed.GetValue(directory) ?? result.Configuration.Buffer.Directory));
        if (!found.Exists)
        {
            return CommandLine.Fail(
                ExitCode.CouldNotRun,
                result.Configuration.Buffer.Disk == 0
                    ? $"there is nothing at {found.Path}, and buffer.disk is 0: nothing is ever put on disk"
                    : $"no buffer can be seen at {found.Path}: name it with --directory or its configuration with --config, or look as the gateway's user");
        }

        try
        {
            return await act(new LookedAtBuffer(found, result.Configuration)).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return CommandLine.Fail(ExitCode.CouldNotRun, e.Message);
        }
    }

    /// <summary>The same for what waits for nothing.</summary>
    public Task<int> UseAsync(ParseResult parsed, Func<LookedAtBuffer, int> act) =>
        UseAsync(parsed, buffer => Task.FromResult(act(buffer)));
}

/// <summary>A buffer that is there, and whose configuration is known.</summary>
internal sealed class LookedAtBuffer(BufferDirectory directory, GatewayConfiguration configuration)
{
    private const int PermissionDenied = 13;

    public BufferDirectory Directory => directory;

    public GatewayConfiguration Configuration => configuration;

    /// <summary>The clock as the gateway would see it.</summary>
    public GatewayClock Clock { get; } = new(
        TimeProvider.System, configuration.Gateway.TrustClock ? () => true : GatewayClock.IsKernelSynchronised);

    /// <summary>Whether a gateway runs on it, or another "drop" is at work; null when that cannot be told.</summary>
    public bool? IsInUse { get; } = AskLock(directory.LockPath);

    /// <summary>Reads a journal.</summary>
    /// <exception cref="IOException">It cannot be read; the message says what to do.</exception>
    public JournalView Open(BufferJournal journal, Func<RecordVisitor> newVisitor)
    {
        DiskError error = JournalView.Open(journal.Path, IsInUse ?? true, newVisitor, out JournalView? view);
        ThrowIfUnreadable(journal, error, view?.Report);
        return view!;
    }

    /// <summary>Reads a journal's frames; true if nothing of it is damaged.</summary>
    /// <exception cref="IOException">It cannot be read; the message says what to do.</exception>
    public bool ReadFrames(BufferJournal journal, bool readsSettled, StoredFrameVisitor visitor)
    {
        DiskError error = StoredFrames.Read(journal, IsInUse ?? true, readsSettled, visitor, out RecoveryReport? report);
        ThrowIfUnreadable(journal, error, report);
        return report!.MissingRecords == 0 && report.UnreadableSegments == 0 && report.BrokenSegments == 0;
    }

    private static void ThrowIfUnreadable(BufferJournal journal, DiskError error, RecoveryReport? report)
    {
        if (error.IsNone && report!.ReadError.Errno == PermissionDenied)
            error = report.ReadError;
        if (!error.IsNone)
            throw new IOException($"{journal.Path} cannot be read ({error}): look as the gateway's user or root");
    }

    private static bool? AskLock(string path)
    {
        try
        {
            return FileLock.IsTaken(path);
        }
        catch (IOException)
        {
            return null;
        }
    }
}
