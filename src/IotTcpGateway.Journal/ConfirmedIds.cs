using System.Numerics;

namespace IotTcpGateway.Journal;

/// <summary>
/// Which ids are settled: all up to a cursor, a bit for each id ahead of it, and ranges. May be used by any thread.
/// </summary>
internal sealed class ConfirmedIds
{
    private const int BitsPerWord = 64;

    // Bits for 2 MiB. What is further ahead, behind a hole that nobody has settled yet, is kept as ranges: an id out of a
    // damaged file must not cost memory for all those before it.
    private const long IdsAheadMax = 1 << 24;

    private readonly Lock sync = new();
    private readonly List<IdRange> ranges = [];
    private ulong[] words = new ulong[16];
    private long through;

    /// <summary>Every id up to this one is settled.</summary>
    public long Through => Volatile.Read(ref through);

    public void Start(long cursor) => through = cursor;

    public void Confirm(long id)
    {
        lock (sync)
        {
            if (id <= through)
                return;
            if (id - through > IdsAheadMax)
            {
                ConfirmFarAhead(id);
                return;
            }

            GrowFor(id);
            words[WordOf(id)] |= BitOf(id);
            Advance();
        }
    }

    public bool IsConfirmed(long id)
    {
        lock (sync)
            return id <= through || IsMarked(id) || EndOfRangeAt(id) is not null;
    }

    /// <summary>Settles a range that may be long, at the cost of an entry in a list instead of its bits.</summary>
    public void Confirm(IdRange range)
    {
        if (range.IsEmpty)
            return;
        lock (sync)
        {
            if (range.Last <= through)
                return;
            ranges.Add(range);
            Advance();
        }
    }

    /// <summary>Settles everything up to an id and says what of it was not settled before.</summary>
    public GivenUp GiveUpThrough(long id)
    {
        lock (sync)
        {
            var range = new IdRange(through + 1, id);
            long count = UnsettledIn(range);
            if (!range.IsEmpty)
                MoveTo(id);
            Advance();
            return new GivenUp(range, count);
        }
    }

    // Mostly they come in order, and are one range.
    private void ConfirmFarAhead(long id)
    {
        if (ranges.Count > 0 && ranges[^1].Last + 1 == id)
            ranges[^1] = ranges[^1] with { Last = id };
        else if (!IsMarked(id) && EndOfRangeAt(id) is null)
            ranges.Add(new IdRange(id, id));
    }

    // Id by id as far as there are bits, from range to range behind them.
    private long UnsettledIn(IdRange range)
    {
        long count = 0;
        for (long at = range.First; at <= range.Last; at++)
        {
            if (EndOfRangeAt(at) is long last)
            {
                at = last;
                continue;
            }

            if (at - through < CapacityIds)
            {
                count += IsMarked(at) ? 0 : 1;
                continue;
            }

            long next = Math.Min(NextRangeAfter(at), range.Last + 1);
            count += next - at;
            at = next - 1;
        }

        return count;
    }

    private long NextRangeAfter(long id)
    {
        long next = long.MaxValue;
        foreach (IdRange range in ranges)
        {
            if (range.First > id)
                next = Math.Min(next, range.First);
        }

        return next;
    }

    private void Advance()
    {
        while (true)
        {
            if (IsMarked(through + 1))
                MoveTo(through + 1);
            else if (EndOfRangeAt(through + 1) is long last)
                MoveTo(last);
            else
                return;
        }
    }

    private void MoveTo(long id)
    {
        if (id - through > (long)words.Length * BitsPerWord)
        {
            Array.Clear(words);
        }
        else
        {
            for (long at = through + 1; at <= id; at++)
                words[WordOf(at)] &= ~BitOf(at);
        }

        Volatile.Write(ref through, id);
        for (int i = ranges.Count - 1; i >= 0; i--)
        {
            if (ranges[i].Last <= id)
                ranges.RemoveAt(i);
        }
    }

    private long? EndOfRangeAt(long id)
    {
        foreach (IdRange range in ranges)
        {
            if (range.First <= id && id <= range.Last)
                return range.Last;
        }

        return null;
    }

    private bool IsMarked(long id) => id - through < CapacityIds && (words[WordOf(id)] & BitOf(id)) != 0;

    // One word less than there is: the cursor may stand in the middle of one.
    private long CapacityIds => (long)(words.Length - 1) * BitsPerWord;

    private int WordOf(long id) => (int)((id / BitsPerWord) & (words.Length - 1));

    private static ulong BitOf(long id) => 1UL << (int)(id % BitsPerWord);

    private void GrowFor(long id)
    {
        if (id - through < CapacityIds)
            return;
        int length = checked((int)BitOperations.RoundUpToPowerOf2((ulong)(((id - through) / BitsPerWord) + 2)));
        ulong[] larger = new ulong[length];
        long firstWord = (through + 1) / BitsPerWord;
        for (int i = 0; i < words.Length; i++)
        {
            long word = firstWord + i;
            larger[(int)(word & (length - 1))] = words[(int)(word & (words.Length - 1))];
        }

        words = larger;
    }
}
