using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;
using IotTcpGateway.Journal.Tests;

namespace IotTcpGateway.Tests.Buffer;

/// <summary>A buffer's directory of simulated disks, one for each folder, with faults that all of them have.</summary>
internal sealed class SimulatedDirectory : IBufferDirectory
{
    private readonly Random random = new(7);
    private readonly SimulatedDisk root;
    private readonly Dictionary<string, SimulatedDisk> folders = [];

    public SimulatedDirectory() => root = new SimulatedDisk(random);

    /// <summary>Errno with which <see cref="Prepare"/> fails; 0 to let it pass.</summary>
    public int PrepareErrno { get; set; }

    /// <summary>Errno with which a folder cannot be made; 0 to let it pass.</summary>
    public int FolderErrno { get; set; }

    public IJournalDisk Root => root;

    public SimulatedDisk RootDisk => root;

    public IEnumerable<string> Folders => folders.Keys.Order(StringComparer.Ordinal);

    public SimulatedDisk this[string folder] => folders[folder];

    /// <summary>The errno with which an operation fails, on every disk.</summary>
    public Func<DiskOperation, int>? Fault { get; set; }

    private IEnumerable<SimulatedDisk> All => folders.Values.Prepend(root);

    public DiskError Prepare() => Refusal(PrepareErrno);

    public DiskError Open(string name, out IJournalDisk disk)
    {
        if (FolderErrno != 0 && !folders.ContainsKey(name))
        {
            disk = root;
            return Refusal(FolderErrno);
        }

        if (!folders.TryGetValue(name, out SimulatedDisk? folder))
            folders.Add(name, folder = NewDisk());
        disk = folder;
        return DiskError.None;
    }

    /// <summary>Lets some operations fail.</summary>
    public void Refuse(int errno, params DiskOperation[] operations) =>
        Fault = operation => operations.Contains(operation) ? errno : 0;

    public bool Has(string name) => folders.ContainsKey(name);

    /// <summary>The process ends, the page cache stays.</summary>
    public void Kill()
    {
        foreach (SimulatedDisk disk in All)
            disk.Kill();
    }

    public void CutPower()
    {
        foreach (SimulatedDisk disk in All)
            disk.CutPower();
    }

    /// <summary>How often something was done on the disk of a folder.</summary>
    public int Count(string folder, DiskOperation operation) =>
        folders.TryGetValue(folder, out SimulatedDisk? disk)
            ? disk.Log.Count(l => l.StartsWith($"{operation} ", StringComparison.Ordinal))
            : 0;

    private SimulatedDisk NewDisk() => new(random) { Fault = (operation, _) => Fault?.Invoke(operation) ?? 0 };

    private static DiskError Refusal(int errno) =>
        errno == 0 ? DiskError.None : new DiskError(DiskOperation.Open, errno);
}
