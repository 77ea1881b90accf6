using System.Diagnostics.CodeAnalysis;

namespace IotTcpGateway.Buffer;

/// <summary>
/// What was given up, until the broker has confirmed that it was told. Every entry that it has not confirmed is in
/// memory; the journal beside it is read at the start alone. So one cap bounds both: beyond it entries of one device,
/// boot and reason become one, with holes, and when that is not enough the oldest are forgotten and counted. Merging
/// keeps the number of entries near that of devices, however long the broker is away, which is why none of them needs
/// to be paged. May be used by any thread, but for what is said to be the spilling thread's.
/// </summary>
internal sealed partial class DropLedger(
    TimeProvider time, Func<long> unixMillisecondsOrZero, LedgerLimits? ledgerLimits = null) : IDisposable
{
    /// <summary>How many of the newest entries <see cref="Latest"/> tells.</summary>
    public const int LatestMax = 32;

    /// <summary>
    /// So long whatever is dropped of one device, boot and reason joins an entry, whatever is missing between; later
    /// only what follows without a hole.
    /// </summary>
    public static readonly TimeSpan OpenFor = TimeSpan.FromSeconds(1);

    private readonly LedgerLimits limits = ledgerLimits ?? new LedgerLimits();
    private readonly Lock sync = new();
    private readonly List<LedgerEntry> entries = [];
    private readonly Dictionary<LedgerKey, LedgerEntry> runs = [];
    private readonly Dictionary<string, long> putOffUntil = [];
    private readonly Queue<LedgerEntry> latest = new(LatestMax + 1);
    private LedgerEntry? lastJoined;
    private long lastNumber;
    private int bytes;
    private int waiting;
    private long made;
    private long forgotten;
    private long told;

    /// <summary>Something may be there to publish; raised by whoever added it, under no lock of the ledger.</summary>
    public event Action? Added;

    /// <summary>Entries made since the start.</summary>
    public long Entries => Volatile.Read(ref made);

    /// <summary>Entries that were lost before they were told: the caps forced it, or damage on disk.</summary>
    public long EntriesForgotten => Volatile.Read(ref forgotten);

    /// <summary>Entries that the broker confirmed, or refused for good, since the start.</summary>
    public long EntriesTold => Volatile.Read(ref told);

    /// <summary>Entries that the broker has not confirmed.</summary>
    public long ReportsWaiting
    {
        get
        {
            lock (sync)
                return entries.Count;
        }
    }

    /// <summary>Of these, the ones that <see cref="TryTake"/> has not handed out.</summary>
    public int Untaken => Volatile.Read(ref waiting);

    /// <summary>The newest entries, told or not, the newest last.</summary>
    public IReadOnlyList<GapReport> Latest
    {
        get
        {
            lock (sync)
                return [.. latest.Select(e => e.AsReport())];
        }
    }

    /// <summary>Enters a dropped record. Nothing is allocated for it if it joins an entry.</summary>
    public void Add(string deviceId, uint bootId, uint sequence, DropReason reason)
    {
        var key = new LedgerKey(deviceId, bootId, reason);
        lock (sync)
        {
            // Floods come device by device: mostly it is the same entry again.
            LedgerEntry? run = lastJoined?.Key == key ? lastJoined : runs.GetValueOrDefault(key);
            if (run is not null && CanJoin(run, sequence))
            {
                run.Join(sequence, sequence, 1);
                isDirty = true;
                lastJoined = run;
                return;
            }

            Begin(key, sequence);
        }

        Added?.Invoke();
    }

    /// <summary>
    /// The oldest entry that was not taken; nothing joins it any more. It is the caller's to say that it was <see
    /// cref="Published"/>, or to <see cref="PutOff"/> it.
    /// </summary>
    public bool TryTake([NotNullWhen(true)] out GapReport? report)
    {
        report = null;
        if (Untaken == 0)
            return false;
        lock (sync)
        {
            foreach (LedgerEntry entry in entries)
            {
                if (entry.Taken is not null || IsPutOff(entry.Key.DeviceId))
                    continue;
                report = entry.Taken = entry.AsReport();
                EndRun(entry);
                Volatile.Write(ref waiting, waiting - 1);
                return true;
            }

            return false;
        }
    }

    /// <summary>The broker confirmed it, or will never take it.</summary>
    public void Published(GapReport report)
    {
        lock (sync)
        {
            // By the object: until the journal is open, the numbers are for the time being.
            int index = entries.FindIndex(e => ReferenceEquals(e.Taken, report));
            if (index < 0)
                return;
            LedgerEntry entry = entries[index];
            entries.RemoveAt(index);
            bytes -= entry.Bytes;
            entry.IsGone = true;
            Volatile.Write(ref told, told + 1);
            if (entry.JournalId != 0)
                Confirm(entry.JournalId);
        }
    }

    /// <summary>The broker refused it for now: no entry of its device is taken before so long.</summary>
    public void PutOff(GapReport report, TimeSpan wait)
    {
        lock (sync)
        {
            LedgerEntry? entry = entries.Find(e => ReferenceEquals(e.Taken, report));
            if (entry is null)
                return;
            Untake(entry);
            putOffUntil[report.DeviceId] = time.GetTimestamp() + (long)(wait.TotalSeconds * time.TimestampFrequency);
        }
    }

    /// <summary>The link is lost: what was taken and not confirmed is taken again.</summary>
    public void Rewind()
    {
        lock (sync)
        {
            putOffUntil.Clear();
            foreach (LedgerEntry entry in entries)
            {
                if (entry.Taken is not null)
                    Untake(entry);
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose() => journal?.Dispose();

    private void Begin(in LedgerKey key, uint sequence)
    {
        var entry = new LedgerEntry(key, unixMillisecondsOrZero(), time.GetTimestamp()) { IsOpen = true };
        entry.Join(sequence, sequence, 1);
        if (bytes + entry.Bytes > limits.MemoryBytes)
            MakeRoom();
        Append(entry, ++lastNumber);
        runs[key] = lastJoined = entry;
        isDirty = true;
        Volatile.Write(ref made, made + 1);
        Remember(entry);
    }

    private bool CanJoin(LedgerEntry run, uint sequence)
    {
        if (run.IsNext(sequence))
            return true;
        run.IsOpen = run.IsOpen && time.GetElapsedTime(run.BegunAt) < OpenFor;
        return run.IsOpen;
    }

    private void Append(LedgerEntry entry, long number)
    {
        entry.Number = number;
        entries.Add(entry);
        bytes += entry.Bytes;
        Volatile.Write(ref waiting, waiting + (entry.Taken is null ? 1 : 0));
    }

    private void Remember(LedgerEntry entry)
    {
        latest.Enqueue(entry);
        if (latest.Count > LatestMax)
            latest.Dequeue();
    }

    private void Untake(LedgerEntry entry)
    {
        entry.Taken = null;
        Volatile.Write(ref waiting, waiting + 1);
    }

    private void EndRun(LedgerEntry entry)
    {
        entry.IsOpen = false;
        if (runs.TryGetValue(entry.Key, out LedgerEntry? run) && run == entry)
            runs.Remove(entry.Key);
        if (lastJoined == entry)
            lastJoined = null;
    }

    private bool IsPutOff(string deviceId)
    {
        if (putOffUntil.Count == 0 || !putOffUntil.TryGetValue(deviceId, out long until))
            return false;
        if (time.GetTimestamp() < until)
            return true;
        putOffUntil.Remove(deviceId);
        return false;
    }
}
