using IotTcpGateway.Fuzz.Protocol;

namespace IotTcpGateway.Fuzz.Ingest;

/// <summary>
/// What the fuzzer, which is all devices and the broker at once, knows of the frames of one boot of a device. Steps are
/// counted, so that it can be said afterwards what had happened before an ACK was read.
/// </summary>
internal sealed class StreamModel
{
    private readonly Dictionary<uint, int> takenUnconfirmed = [];
    private readonly Dictionary<uint, int> confirmedAt = [];
    private readonly List<(uint Sequence, int ReadAt)> acknowledged = [];
    private readonly HashSet<uint> givenUp = [];

    /// <summary>The highest sequence that was ever sent in it.</summary>
    public uint HighestSent { get; set; }

    public void Taken(uint sequence) =>
        Require.That(!confirmedAt.ContainsKey(sequence) && takenUnconfirmed.TryAdd(sequence, 0), $"frame {sequence} comes twice");

    public void Confirmed(uint sequence, int step)
    {
        takenUnconfirmed.Remove(sequence);
        confirmedAt[sequence] = step;
    }

    public void GivenUp(uint sequence)
    {
        lock (givenUp)
            givenUp.Add(sequence);
    }

    public void Acknowledged(uint sequence, int step) => acknowledged.Add((sequence, step));

    /// <summary>Whether the frame came into the buffer, as far as is known.</summary>
    public bool HasArrived(uint sequence)
    {
        lock (givenUp)
        {
            return takenUnconfirmed.ContainsKey(sequence) || confirmedAt.ContainsKey(sequence)
                || givenUp.Contains(sequence);
        }
    }

    /// <summary>At the end, when all records were taken: no ACK may have covered what was not safe by then.</summary>
    public void CheckAcknowledgements()
    {
        foreach ((uint sequence, int readAt) in acknowledged)
        {
            foreach (uint unconfirmed in takenUnconfirmed.Keys)
                Require.That(unconfirmed > sequence || IsGivenUp(unconfirmed), $"ACK {sequence} covers {unconfirmed}, which nobody confirmed");
            foreach ((uint confirmed, int step) in confirmedAt)
                Require.That(confirmed > sequence || step <= readAt, $"ACK {sequence} came before {confirmed} was confirmed");
        }
    }

    private bool IsGivenUp(uint sequence)
    {
        lock (givenUp)
            return givenUp.Contains(sequence);
    }
}
