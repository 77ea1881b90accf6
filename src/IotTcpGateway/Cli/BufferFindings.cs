using IotTcpGateway.Journal;

namespace IotTcpGateway.Cli;

/// <summary>What is wrong with a journal, and what it costs; each in one line.</summary>
internal static class BufferFindings
{
    /// <param name="report">How the journal was found.</param>
    /// <param name="unknown">Whole entries that are not understood.</param>
    /// <param name="withoutNames">Frames whose channel table is missing.</param>
    /// <param name="isLive">Whether a gateway writes to it.</param>
    public static IReadOnlyList<string> Of(RecoveryReport report, long unknown, long withoutNames, bool isLive) =>
        [.. OfRecords(report, isLive), .. OfFiles(report), .. OfCursor(report.Cursor), .. OfEntries(unknown, withoutNames)];

    private static IEnumerable<string> OfRecords(RecoveryReport report, bool isLive)
    {
        long told = 0;
        foreach (DamagedRange damage in report.Damage)
        {
            told += damage.Ids.Count;
            string cost = damage.IsProven
                ? $"{Entries(damage.Ids.Count)} lost"
                : $"{Entries(damage.Ids.Count)} lost, or never written whole and then never acknowledged";
            yield return Text($"{damage.Segment}: ids {damage.Ids.First} to {damage.Ids.Last} are missing: {cost}");
        }

        if (report.MissingRecords > told)
            yield return Text($"further ids are missing: {Entries(report.MissingRecords - told)} lost");
        // Behind the last entry of a running gateway is what it is writing.
        if (report.TornBytes > 0 && !isLive)
        {
            yield return Text(
                $"{report.TornBytes} bytes behind the last entry are none: the unfinished write of a power cut, which was never acknowledged, or damage to the last entries");
        }
    }

    private static IEnumerable<string> OfFiles(RecoveryReport report)
    {
        if (report.DamagedHeaders > 0)
            yield return Text($"headers of {Segments(report.DamagedHeaders)} damaged: nothing is lost by it");
        if (report.BrokenSegments > 0)
            yield return Text($"{Segments(report.BrokenSegments)} with nothing left to read: all that was in there is lost");
        if (report.UnreadableSegments > 0)
            yield return Text($"{Segments(report.UnreadableSegments)} cannot be read ({report.ReadError}): what is in there is missing until the disk can");
        else if (!report.ReadError.IsNone)
            yield return Text($"the disk could not read a part ({report.ReadError}): what lies there counts as missing");
        if (report.AlienFiles > 0)
            yield return Text($"{report.AlienFiles} files that are not ours, or of a newer version: they are left alone");
    }

    private static IEnumerable<string> OfCursor(CursorState cursor)
    {
        if (cursor == CursorState.OneSlotDamaged)
            yield return "one slot of the cursor is damaged: what was settled last may be published again";
        else if (cursor == CursorState.Lost)
            yield return "the cursor is lost: everything on disk counts as not settled, and is published again";
    }

    private static IEnumerable<string> OfEntries(long unknown, long withoutNames)
    {
        if (unknown > 0)
            yield return Text($"{Entries(unknown)} of a kind that this version does not know: it cannot publish them");
        if (withoutNames > 0)
            yield return Text($"the channel table of {withoutNames} frames is missing: their channels are called ch and their number");
    }

    private static string Entries(long count) => Text(count == 1 ? (FormattableString)$"1 entry" : $"{count} entries");

    private static string Segments(int count) => Text(count == 1 ? (FormattableString)$"1 segment" : $"{count} segments");

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
