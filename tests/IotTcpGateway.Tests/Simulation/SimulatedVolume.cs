using IotTcpGateway.Buffer;
using IotTcpGateway.Journal;
using IotTcpGateway.Journal.Tests;

namespace IotTcpGateway.Tests.Simulation;

/// <summary>What can go wrong with the disk in a run.</summary>
[Flags]
internal enum Trouble
{
    None = 0,
    PowerCuts = 1,
    Kills = 2,
    FailingOnce = 4,
    FailingForGood = 8,
    FullDisk = 16,
    ReadOnlyDisk = 32,
    BitRot = 64,
}

/// <summary>
/// The buffer's directory on a disk as bad as disks are: a simulated disk for each folder, and one power, one capacity
/// and one trouble for all of them.
/// </summary>
internal sealed class SimulatedVolume : IBufferDirectory
{
    private readonly Random random;
    private readonly Trouble trouble;
    private readonly SimulatedDisk root;
    private readonly SortedDictionary<string, SimulatedDisk> folders = new(StringComparer.Ordinal);
    private readonly HashSet<string> durableFolders = [];
    private Func<DiskOperation, int, int>? fault;
    private int cutAt = int.MaxValue;
    private int operations;

    public SimulatedVolume(Random random, Trouble trouble)
    {
        this.random = random;
        this.trouble = trouble;
        root = NewDisk("");
    }

    /// <summary>Whether it may refuse what is asked of it.</summary>
    public bool IsRefusing => fault is not null || root.IsReadOnly || root.CapacityBytes < long.MaxValue;

    /// <summary>Is told of a lane's cursor that is durable.</summary>
    public Action<int>? CursorSynced { get; set; }

    public IJournalDisk Root => root;

    public DiskError Prepare() => DiskError.None;

    public bool Has(string name) => folders.ContainsKey(name);

    public DiskError Open(string name, out IJournalDisk disk)
    {
        if (!folders.TryGetValue(name, out SimulatedDisk? folder))
            folders.Add(name, folder = NewDisk(name));
        disk = folder;
        if (durableFolders.Contains(name))
            return DiskError.None;
        DiskError error = root.SyncDirectory();
        if (error.IsNone)
            durableFolders.Add(name);
        return error;
    }

    /// <summary>The power may be cut within so many operations from now on.</summary>
    public void PlanPowerCut(int operationsMax) => cutAt = operations + random.Next(operationsMax);

    public void MakeTrouble()
    {
        int at = operations + random.Next(12);
        bool isSyncAlone = random.Next(3) == 0;
        Trouble[] kinds = [Trouble.FailingOnce, Trouble.FailingForGood, Trouble.FullDisk, Trouble.ReadOnlyDisk];
        Trouble kind = kinds[random.Next(kinds.Length)];
        if (!trouble.HasFlag(kind))
            return;
        if (kind == Trouble.FailingOnce)
            fault = (operation, number) => number == at && CanFail(operation, isSyncAlone: false) ? DiskError.InputOutput : 0;
        else if (kind == Trouble.FailingForGood)
            fault = (operation, number) => number >= at && CanFail(operation, isSyncAlone) ? DiskError.InputOutput : 0;
        else if (kind == Trouble.FullDisk)
            SetCapacity(UsedBytes + random.Next(800_000));
        else
            SetReadOnly(true);
    }

    /// <summary>The disk is well; a planned power cut stays.</summary>
    public void CalmDown()
    {
        fault = null;
        SetCapacity(long.MaxValue);
        SetReadOnly(false);
    }

    public void Kill()
    {
        cutAt = int.MaxValue;
        foreach (SimulatedDisk disk in All)
            disk.Kill();
    }

    public void CutPower()
    {
        cutAt = int.MaxValue;
        foreach (string name in folders.Keys.Where(n => !durableFolders.Contains(n)).ToList())
        {
            if (random.Next(2) == 0)
                folders.Remove(name);
        }

        durableFolders.UnionWith(folders.Keys);
        foreach (SimulatedDisk disk in All)
            disk.CutPower();
    }

    /// <summary>Turns bits of what was written long ago; returns how many.</summary>
    public int Rot()
    {
        List<(SimulatedDisk Disk, string Name)> files =
        [
            .. All.Where(d => !folders.TryGetValue("ledger", out SimulatedDisk? ledger) || d != ledger)
                .SelectMany(d => d.Names.Select(n => (d, n)))
                .Where(f => f.n.EndsWith(".seg", StringComparison.Ordinal) || f.n is "cursor" or CustodyFile.Name),
        ];
        if (files.Count == 0)
            return 0;
        (SimulatedDisk disk, string name) = files[random.Next(files.Count)];
        byte[] bytes = disk[name];
        if (bytes.Length == 0)
            return 0;
        int flips = random.Next(1, 4);
        for (int i = 0; i < flips; i++)
            bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
        disk[name] = bytes;
        return flips;
    }

    private IEnumerable<SimulatedDisk> All => folders.Values.Prepend(root);

    private long UsedBytes => All.Sum(d => d.UsedBytes);

    // A read that fails is damage by definition; the journal's own simulation looks at that.
    private static bool CanFail(DiskOperation operation, bool isSyncAlone) => isSyncAlone
        ? operation is DiskOperation.Sync or DiskOperation.SyncDirectory
        : operation is not (DiskOperation.Read or DiskOperation.Length or DiskOperation.Open or DiskOperation.List);

    private SimulatedDisk NewDisk(string name)
    {
        var disk = new SimulatedDisk(random);
        disk.UsedElsewhere = () => UsedBytes - disk.UsedBytes;
        disk.Fault = (operation, _) =>
        {
            int number = operations++;
            if (number == cutAt)
                throw new PowerCutException();
            return fault?.Invoke(operation, number) ?? 0;
        };
        if (name.StartsWith("lane-", StringComparison.Ordinal))
            disk.Synced = file => NoteSync(name[^1] - '0', file);
        return disk;
    }

    // A new file has another name until it is durable; it is not counted, and the check is a little weaker for it.
    private void NoteSync(int lane, string file)
    {
        if (file == "cursor")
            CursorSynced?.Invoke(lane);
    }

    private void SetCapacity(long bytes)
    {
        foreach (SimulatedDisk disk in All)
            disk.CapacityBytes = bytes;
    }

    private void SetReadOnly(bool isReadOnly)
    {
        foreach (SimulatedDisk disk in All)
            disk.IsReadOnly = isReadOnly;
    }
}
