namespace IotTcpGateway.Journal;

/// <summary>Ids from the first to the last, both included; empty when the last is below the first.</summary>
/// <param name="First">The first id.</param>
/// <param name="Last">The last id.</param>
public readonly record struct IdRange(long First, long Last)
{
    /// <summary>Whether there is no id in it.</summary>
    public bool IsEmpty => Last < First;

    /// <summary>How many ids.</summary>
    public long Count => IsEmpty ? 0 : Last - First + 1;
}

/// <summary>Records that were given up: a range, and how many in it had not been confirmed.</summary>
/// <param name="Range">From the first unconfirmed id to the last given up.</param>
/// <param name="Count">The unconfirmed ones of it; at most so many, because damaged records count too.</param>
public readonly record struct GivenUp(IdRange Range, long Count);
