using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>What a ledger's journal held when it was opened.</summary>
internal sealed class LedgerFindings
{
    private readonly SortedDictionary<long, (LedgerEntry Entry, bool IsConfirmed)> byNumber = [];
    private readonly Dictionary<string, string> deviceIds = [];

    public long LastNumber { get; private set; }

    /// <summary>Unconfirmed records of which nothing can be made.</summary>
    public int Unreadable { get; private set; }

    public IEnumerable<LedgerEntry> Unconfirmed => byNumber.Values.Where(f => !f.IsConfirmed).Select(f => f.Entry);

    public IEnumerable<LedgerEntry> Latest => byNumber.Values.Select(f => f.Entry).TakeLast(DropLedger.LatestMax);

    /// <summary>Of a number the last record counts.</summary>
    public void Take(in JournalRecord record)
    {
        if (LedgerRecord.Read(record.Payload) is not { } report)
        {
            Unreadable += record.IsConfirmed ? 0 : 1;
            return;
        }

        // One string for all entries of a device.
        if (!deviceIds.TryGetValue(report.DeviceId, out string? deviceId))
            deviceIds.Add(report.DeviceId, deviceId = report.DeviceId);
        var entry = new LedgerEntry(report with { DeviceId = deviceId }) { JournalId = record.Id };
        byNumber[report.Number] = (entry, record.IsConfirmed);
        LastNumber = Math.Max(LastNumber, report.Number);
    }

    /// <summary>Confirms everything else: older records of an entry, damage, what cannot be read.</summary>
    public void SettleTheRest(RecordJournal journal)
    {
        long settled = 0;
        foreach (long id in Unconfirmed.Select(e => e.JournalId).Order())
        {
            journal.Confirm(new IdRange(settled + 1, id - 1));
            settled = id;
        }

        journal.Confirm(new IdRange(settled + 1, journal.LastId));
    }
}
