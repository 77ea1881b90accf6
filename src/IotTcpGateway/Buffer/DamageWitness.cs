namespace IotTcpGateway.Buffer;

/// <summary>
/// Tells whose frames were in a hole of a journal: of a boot of which frames were read before and behind it, those that
/// are missing between. A device that left them out itself is suspected too; that is told as a gap all the same.
/// </summary>
internal sealed class DamageWitness(DropLedger ledger)
{
    // A device may begin any number of boots; beyond this the oldest ones' holes are counted, and not told whose they are.
    private const int BootsMax = 16_384;

    private readonly Dictionary<(string DeviceId, uint BootId), (uint Sequence, long Hole)> last = [];
    private long holes;
    private long missing;

    /// <summary>Entries are missing here.</summary>
    public void Hole(long entries)
    {
        holes++;
        missing += entries;
    }

    /// <summary>Whether entries are missing of which it is not known whose they were.</summary>
    public bool HasHole => missing > 0;

    /// <summary>A frame was read.</summary>
    public void Seen(string deviceId, uint bootId, uint sequence)
    {
        bool isKnown = last.TryGetValue((deviceId, bootId), out (uint Sequence, long Hole) before);
        if (isKnown && before.Hole < holes)
        {
            for (uint lost = before.Sequence + 1; lost < sequence && missing > 0; lost++, missing--)
                ledger.Add(deviceId, bootId, lost, DropReason.Damaged);
        }

        if (!isKnown && last.Count >= BootsMax)
            last.Clear();
        last[(deviceId, bootId)] = (sequence, holes);
    }

    /// <summary>
    /// Nothing follows: of a boot that was read before a hole and not behind it, all that was taken since is missing.
    /// </summary>
    public void End(Func<string, uint, uint> highestTaken)
    {
        foreach ((string deviceId, uint bootId) in last.Where(l => l.Value.Hole < holes).Select(l => l.Key).ToArray())
            Seen(deviceId, bootId, highestTaken(deviceId, bootId) + 1);
        Clear();
    }

    /// <summary>Everything is read.</summary>
    public void Clear()
    {
        last.Clear();
        missing = 0;
    }
}
