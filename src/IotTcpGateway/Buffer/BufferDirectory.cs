namespace IotTcpGateway.Buffer;

/// <summary>A journal of a buffer's directory.</summary>
/// <param name="Name">The folder's name.</param>
/// <param name="Path">The folder.</param>
/// <param name="Lane">The priority of what is in it; 0 when it is no lane.</param>
internal sealed record BufferJournal(string Name, string Path, int Lane)
{
    /// <summary>Whether it is where frames are that were refused for good.</summary>
    public bool IsQuarantine => Name == BufferDisk.QuarantineName;

    /// <summary>Whether it holds frames; the ledger does not.</summary>
    public bool HoldsFrames => Lane > 0 || IsQuarantine;
}

/// <summary>What is where in a buffer's directory.</summary>
/// <param name="path">The directory.</param>
internal sealed class BufferDirectory(string path)
{
    /// <summary>Lanes are numbered from 1 to this.</summary>
    public const int LaneMax = BufferDisk.Lanes;

    public string Path => path;

    /// <summary>A running gateway holds its lock.</summary>
    public string LockPath => System.IO.Path.Combine(path, PosixBufferDirectory.LockName);

    public bool Exists => Directory.Exists(path);

    /// <summary>The journals that were ever used: lanes, quarantine, ledger.</summary>
    public IReadOnlyList<BufferJournal> Journals() => [.. All().Where(j => Directory.Exists(j.Path))];

    private IEnumerable<BufferJournal> All()
    {
        for (int lane = 1; lane <= LaneMax; lane++)
            yield return Named($"lane-{lane}", lane);
        yield return Named(BufferDisk.QuarantineName, 0);
        yield return Named(BufferDisk.LedgerName, 0);
    }

    private BufferJournal Named(string name, int lane) => new(name, System.IO.Path.Combine(path, name), lane);
}
