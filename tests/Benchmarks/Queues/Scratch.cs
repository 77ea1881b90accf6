using System.Runtime.InteropServices;

namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>A directory on the disk to be measured that is gone afterwards, also when the program is stopped.</summary>
internal sealed class Scratch : IDisposable
{
    private readonly CancellationTokenSource stopping = new();
    private readonly List<PosixSignalRegistration> signals = [];
    private readonly string root;
    private int made;

    public Scratch(string parent, long bytesNeeded)
    {
        if (!Directory.Exists(parent))
            throw new IOException($"--directory {parent}: there is no such directory");
        long free = new DriveInfo(Path.GetFullPath(parent)).AvailableFreeSpace;
        if (free < bytesNeeded)
            throw new IOException($"--directory {parent}: {bytesNeeded >> 20} MiB are needed, {free >> 20} are free");
        root = Path.Combine(Path.GetFullPath(parent), $"iotgw-figures-{Environment.ProcessId}");
        foreach (PosixSignal signal in (PosixSignal[])[PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP])
            signals.Add(PosixSignalRegistration.Create(signal, Stop));
        Directory.CreateDirectory(root);
    }

    public CancellationToken Stopping => stopping.Token;

    /// <summary>A directory of its own for one measurement.</summary>
    public string Make() => Directory.CreateDirectory(Path.Combine(root, $"{++made}")).FullName;

    public static void Remove(string directory) => Directory.Delete(directory, recursive: true);

    public void Dispose()
    {
        Remove(root);
        signals.ForEach(s => s.Dispose());
        stopping.Dispose();
    }

    private void Stop(PosixSignalContext context)
    {
        context.Cancel = true;
        stopping.Cancel();
    }
}
