namespace IotTcpGateway.Buffer;

/// <summary>
/// At which run time which id of a journal was given: the age of what is on disk, at a few bytes a minute.
/// </summary>
internal sealed class AgeMarks
{
    // Even, so that the newest of one too many stays when every second one goes.
    private const int CountMax = 4096;

    private readonly List<(long Id, long Seconds)> marks = [];

    /// <summary>Run time of the newest mark; -1 if there is none.</summary>
    public long LastSeconds => marks.Count == 0 ? -1 : marks[^1].Seconds;

    public void Add(long id, long seconds)
    {
        marks.Add((id, seconds));
        // Every second one is enough: what is older than told is kept a little longer.
        if (marks.Count <= CountMax)
            return;
        for (int i = 0; (2 * i) < marks.Count; i++)
            marks[i] = marks[2 * i];
        marks.RemoveRange((marks.Count + 1) / 2, marks.Count / 2);
    }

    /// <summary>Every id below the answer was given no later than at this run time; 0 if none is known to be.</summary>
    public long IdsGivenBy(long seconds)
    {
        int index = marks.FindLastIndex(m => m.Seconds <= seconds);
        return index < 0 ? 0 : marks[index].Id;
    }

    /// <summary>Nobody asks any more for ids up to this one.</summary>
    public void Forget(long throughId)
    {
        int last = marks.FindLastIndex(m => m.Id <= throughId);
        if (last > 0)
            marks.RemoveRange(0, last);
    }
}
