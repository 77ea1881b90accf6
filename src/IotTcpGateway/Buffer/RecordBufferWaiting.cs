namespace IotTcpGateway.Buffer;

/// <summary>
/// Devices whose messages the broker refuses for now. What they have on disk is passed over, whatever it is, so that it
/// takes no memory from the others; that they wait is no reason to put the others on disk.
/// </summary>
internal sealed partial class RecordBuffer
{
    private readonly HashSet<string> waitingDevices = [];

    /// <summary>The broker refuses a device for now.</summary>
    public void BeginWaiting(string deviceId)
    {
        lock (gate)
            waitingDevices.Add(deviceId);
    }

    /// <summary>Whether records of a device were put aside.</summary>
    public bool HasAside(string deviceId)
    {
        lock (gate)
            return lanes.Any(l => l.Aside.Has(deviceId));
    }

    /// <summary>
    /// A record that was taken, of a waiting device: it leaves memory if it is on disk, and comes back when the wait is
    /// over. False if it is in memory alone.
    /// </summary>
    public bool TryPutAside(RecordHandle handle)
    {
        lock (gate)
        {
            RecordChunk chunk = ChunkOf(handle.Value);
            ref RecordHeader header = ref chunk.HeaderAt(OffsetOf(handle.Value));
            if ((header.Flags & RecordFlags.Synced) == 0)
                return false;
            DeviceStream stream = streams[header.StreamSlot];
            chunk.Lane.Aside.Add(stream.DeviceId, header.JournalId);
            chunk.Lane.OnDisk++;
            tables.Release(header.TableSlot);
            stream.Outstanding--;
            chunk.Settle(ref header);
            CloseIfDoneNeedsLock(stream);
            ReleaseNeedsLock(chunk);
            return true;
        }
    }

    /// <summary>
    /// The wait of a device is over. If some of its records were put aside, those that its line holds go back to their
    /// places, to be taken again after these.
    /// </summary>
    /// <param name="deviceId">The device.</param>
    /// <param name="inMemory">Taken records, younger than what was put aside.</param>
    /// <returns>Whether they went back; otherwise the caller still has them.</returns>
    public bool EndWaiting(string deviceId, IEnumerable<RecordHandle> inMemory)
    {
        bool isAny = false;
        lock (gate)
        {
            waitingDevices.Remove(deviceId);
            foreach (Lane lane in lanes)
            {
                if (!lane.Aside.Has(deviceId))
                    continue;
                isAny = true;
                BringBackNeedsLock(lane, lane.Aside.Take(deviceId));
            }

            if (isAny)
            {
                foreach (RecordHandle handle in inMemory)
                    PutBackNeedsLock(handle);
            }
        }

        if (isAny)
            PageDue?.Invoke();
        return isAny;
    }

    private void PutBackNeedsLock(RecordHandle handle)
    {
        RecordChunk chunk = ChunkOf(handle.Value);
        chunk.HeaderAt(OffsetOf(handle.Value)).Flags &= ~(RecordFlags.Taken | RecordFlags.Backfill);
        chunk.InFlight--;
        chunk.Lane.Take.MoveTo(chunk.Lane.First);
        if (chunk.Lane.IsLiveFirst)
            chunk.Lane.Live.MoveTo(chunk.Lane.LiveFrom);
    }

    private void BringBackAllNeedsLock(Lane lane)
    {
        if (lane.Aside.Records == 0)
            return;
        AsideRecords aside = lane.Aside;
        lane.Aside = new AsideRecords();
        BringBackNeedsLock(lane, aside);
    }

    // In front of everything: what was put aside is older than what its devices have elsewhere.
    private void BringBackNeedsLock(Lane lane, AsideRecords aside) =>
        lane.Prepend(RecordChunk.OnDisk(lane, nextChunkNumber++, aside.Ids, aside.Records, aside));
}
