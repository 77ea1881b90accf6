using System.Runtime.InteropServices;

namespace IotTcpGateway.Journal.Tests;

/// <summary>The power is gone, in the middle of an operation.</summary>
internal sealed class PowerCutException : Exception;

/// <summary>
/// A directory of files as bad as disks are. What is written stays in a page cache until a sync; a power cut leaves any
/// part of it, torn at 512 bytes and in any order; a failed sync marks it clean and leaves any part of it too. Names
/// are durable after a sync of the directory. Every operation can fail or be the last.
/// </summary>
internal sealed class SimulatedDisk(Random random) : IJournalDisk
{
    private const int SectorBytes = 512;

    private readonly List<NameChange> nameChanges = [];
    private Dictionary<string, Inode> names = [];
    private Dictionary<string, Inode> durableNames = [];
    private int life;

    /// <summary>Operations so far.</summary>
    public int Operations { get; private set; }

    /// <summary>The power is cut in this operation.</summary>
    public int CutAt { get; set; } = int.MaxValue;

    /// <summary>The errno with which an operation fails; 0 to let it pass.</summary>
    public Func<DiskOperation, int, int>? Fault { get; set; }

    /// <summary>Bytes that all files together may have.</summary>
    public long CapacityBytes { get; set; } = long.MaxValue;

    /// <summary>Bytes that other directories of the same file system take.</summary>
    public Func<long>? UsedElsewhere { get; set; }

    /// <summary>Is told of every sync that succeeded: of a file, or of the directory with an empty name.</summary>
    public Action<string>? Synced { get; set; }

    /// <summary>Whether every change is refused.</summary>
    public bool IsReadOnly { get; set; }

    /// <summary>A place in a file that cannot be read.</summary>
    public (string Name, long From, long To)? Unreadable { get; set; }

    /// <summary>What was done, for tests of the order of things.</summary>
    public List<string> Log { get; } = [];

    public IEnumerable<string> Names => names.Keys.Order(StringComparer.Ordinal);

    public byte[] this[string name]
    {
        get => names[name].Cached.ToArray();
        set
        {
            var inode = new Inode();
            inode.Cached.AddRange(value);
            inode.Durable.AddRange(value);
            names[name] = inode;
            durableNames[name] = inode;
        }
    }

    public bool Remove(string name) => durableNames.Remove(name) | names.Remove(name);

    /// <summary>The process ends; the page cache stays.</summary>
    public void Kill()
    {
        life++;
        CutAt = int.MaxValue;
    }

    /// <summary>The power is gone: what is not synced is left to chance.</summary>
    public void CutPower()
    {
        Kill();
        foreach (NameChange change in nameChanges)
        {
            if (random.Next(2) == 0)
                change.Apply(durableNames);
        }

        nameChanges.Clear();
        foreach (Inode inode in names.Values.Concat(durableNames.Values).Distinct())
            inode.Lose(random);
        names = new Dictionary<string, Inode>(durableNames);
    }

    public DiskError List(ICollection<string> found)
    {
        DiskError error = Begin(DiskOperation.List, "");
        if (error.IsNone)
        {
            foreach (string name in names.Keys)
                found.Add(name);
        }

        return error;
    }

    public DiskError Open(string name, FileOpening opening, out ISegmentFile? file)
    {
        file = null;
        DiskError error = Begin(DiskOperation.Open, name, isChange: opening != FileOpening.Read);
        if (!error.IsNone)
            return error;
        if (opening == FileOpening.Create)
        {
            var created = new Inode();
            Change(n => n[name] = created);
        }

        if (!names.TryGetValue(name, out Inode? inode))
            return new DiskError(DiskOperation.Open, DiskError.NoEntry);
        file = new File(this, inode, name, life);
        return DiskError.None;
    }

    public DiskError Rename(string from, string to)
    {
        DiskError error = Begin(DiskOperation.Rename, $"{from} {to}", isChange: true);
        if (!error.IsNone)
            return error;
        if (!names.TryGetValue(from, out Inode? inode))
            return new DiskError(DiskOperation.Rename, DiskError.NoEntry);
        Change(n =>
        {
            if (n.TryGetValue(from, out Inode? there) && there == inode)
                n.Remove(from);
            n[to] = inode;
        });
        return DiskError.None;
    }

    public DiskError Unlink(string name)
    {
        DiskError error = Begin(DiskOperation.Unlink, name, isChange: true);
        if (!error.IsNone)
            return error;
        if (!names.TryGetValue(name, out Inode? inode))
            return new DiskError(DiskOperation.Unlink, DiskError.NoEntry);
        Change(n =>
        {
            if (n.TryGetValue(name, out Inode? there) && there == inode)
                n.Remove(name);
        });
        return DiskError.None;
    }

    public DiskError SyncDirectory()
    {
        DiskError error = Begin(DiskOperation.SyncDirectory, "", isChange: true);
        if (!error.IsNone)
            return error;
        nameChanges.ForEach(c => c.Apply(durableNames));
        nameChanges.Clear();
        Synced?.Invoke("");
        return DiskError.None;
    }

    public DiskError FreeBytes(out long bytes)
    {
        bytes = BytesLeft;
        return Begin(DiskOperation.FreeBytes, "");
    }

    public long UsedBytes => names.Values.Sum(i => (long)i.Cached.Count);

    private long BytesLeft => CapacityBytes - UsedBytes - (UsedElsewhere?.Invoke() ?? 0);

    private void Change(Action<Dictionary<string, Inode>> apply)
    {
        var change = new NameChange(apply);
        change.Apply(names);
        nameChanges.Add(change);
    }

    private DiskError Begin(DiskOperation operation, string about, bool isChange = false)
    {
        int number = Operations++;
        if (number == CutAt)
            throw new PowerCutException();
        Log.Add($"{operation} {about}");
        int errno = Fault?.Invoke(operation, number) ?? 0;
        if (errno == 0 && isChange && IsReadOnly)
            errno = DiskError.ReadOnly;
        return errno == 0 ? DiskError.None : new DiskError(operation, errno);
    }

    private sealed record NameChange(Action<Dictionary<string, Inode>> Apply);

    /// <summary>A change of a file's bytes; a length without bytes is a cut.</summary>
    private readonly record struct ByteChange(long Offset, byte[] Bytes, bool IsCut);

    private sealed class Inode
    {
        public List<byte> Cached { get; } = [];

        public List<byte> Durable { get; } = [];

        public List<ByteChange> Unsynced { get; } = [];

        public void Change(in ByteChange change)
        {
            Apply(Cached, change);
            Unsynced.Add(change);
        }

        public void Sync()
        {
            foreach (ByteChange change in Unsynced)
                Apply(Durable, change);
            Unsynced.Clear();
        }

        /// <summary>Any part of what is unsynced reaches the disk, and nothing is left to be synced.</summary>
        public void LeaveToChance(Random random)
        {
            foreach (ByteChange change in Unsynced)
                ApplySomeSectors(change, random);
            Unsynced.Clear();
        }

        public void Lose(Random random)
        {
            LeaveToChance(random);
            DropCache();
        }

        public void DropCache()
        {
            if (Unsynced.Count > 0)
                return; // dirty pages stay
            Cached.Clear();
            Cached.AddRange(Durable);
        }

        private void ApplySomeSectors(in ByteChange change, Random random)
        {
            int mode = random.Next(4); // all, none, or some, in whatever order
            if (mode == 0)
                return;
            if (change.IsCut || mode == 1)
            {
                Apply(Durable, change);
                return;
            }

            int at = 0;
            while (at < change.Bytes.Length)
            {
                int toSectorEnd = SectorBytes - (int)((change.Offset + at) % SectorBytes);
                int bytes = Math.Min(toSectorEnd, change.Bytes.Length - at);
                if (random.Next(2) == 0)
                    Apply(Durable, new ByteChange(change.Offset + at, change.Bytes[at..(at + bytes)], IsCut: false));
                at += bytes;
            }
        }

        private static void Apply(List<byte> bytes, in ByteChange change)
        {
            long length = change.IsCut ? change.Offset : Math.Max(bytes.Count, change.Offset + change.Bytes.Length);
            int before = bytes.Count;
            CollectionsMarshal.SetCount(bytes, (int)length);
            Span<byte> all = CollectionsMarshal.AsSpan(bytes);
            if (length > before)
                all[before..].Clear();
            change.Bytes.CopyTo(all[(int)Math.Min(change.Offset, length)..]);
        }
    }

    private sealed class File(SimulatedDisk disk, Inode inode, string name, int life) : ISegmentFile
    {
        private bool isDisposed;

        public DiskError Length(out long bytes)
        {
            bytes = inode.Cached.Count;
            return Begin(DiskOperation.Length);
        }

        public DiskError Read(long offset, Span<byte> buffer, out int bytes)
        {
            bytes = 0;
            DiskError error = Begin(DiskOperation.Read);
            if (!error.IsNone)
                return error;
            if (disk.Unreadable is (string bad, long from, long to) && bad == name
                && offset < to && offset + buffer.Length > from)
            {
                return new DiskError(DiskOperation.Read, DiskError.InputOutput);
            }

            bytes = (int)Math.Clamp(inode.Cached.Count - offset, 0, buffer.Length);
            CollectionsMarshal.AsSpan(inode.Cached).Slice((int)Math.Min(offset, inode.Cached.Count), bytes).CopyTo(buffer);
            return DiskError.None;
        }

        public DiskError Write(long offset, ReadOnlySpan<byte> bytes)
        {
            byte[] copy = bytes.ToArray();
            DiskError error;
            try
            {
                error = Begin(DiskOperation.Write, isChange: true);
            }
            catch (PowerCutException)
            {
                inode.Change(new ByteChange(offset, copy, IsCut: false));
                throw;
            }

            long growth = Math.Max(0, offset + copy.Length - inode.Cached.Count);
            if (error.IsNone && growth > disk.BytesLeft)
                error = new DiskError(DiskOperation.Write, DiskError.NoSpace);
            // A failed write has written some of it.
            if (!error.IsNone && error.Errno != DiskError.ReadOnly)
                copy = copy[..(copy.Length / 3)];
            if (error.Errno != DiskError.ReadOnly)
                inode.Change(new ByteChange(offset, copy, IsCut: false));
            return error;
        }

        public DiskError SetLength(long bytes)
        {
            DiskError error = Begin(DiskOperation.SetLength, isChange: true);
            if (error.IsNone)
                inode.Change(new ByteChange(bytes, [], IsCut: true));
            return error;
        }

        public DiskError Sync()
        {
            DiskError error;
            try
            {
                error = Begin(DiskOperation.Sync, isChange: true);
            }
            catch (PowerCutException)
            {
                inode.LeaveToChance(disk.Random);
                throw;
            }

            if (error.IsNone)
            {
                inode.Sync();
                disk.Synced?.Invoke(name);
            }
            else
            {
                inode.LeaveToChance(disk.Random); // clean pages that were never written: the trap
            }

            return error;
        }

        public DiskError DropCache()
        {
            DiskError error = Begin(DiskOperation.DropCache);
            if (error.IsNone)
                inode.DropCache();
            return error;
        }

        public void Dispose() => isDisposed = true;

        private DiskError Begin(DiskOperation operation, bool isChange = false)
        {
            ObjectDisposedException.ThrowIf(isDisposed, this);
            if (life != disk.life)
                throw new InvalidOperationException("a file of a process that is no more");
            return disk.Begin(operation, name, isChange);
        }
    }

    private Random Random => random;
}
