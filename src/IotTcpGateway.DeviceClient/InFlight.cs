namespace IotTcpGateway.DeviceClient;

/// <summary>
/// The sequences sent on one connection and not yet answered, ascending: what the window counts. A frame that was
/// dropped after it was sent still counts, so this is apart from the frames kept.
/// </summary>
internal sealed class InFlight
{
    private const int RoomAtFirst = 16;
    private uint[] ring = new uint[RoomAtFirst];
    private int head;

    public int Count { get; private set; }

    /// <summary>Adds a sequence above all others.</summary>
    public void Add(uint sequence)
    {
        if (Count == ring.Length)
            Grow();
        ring[(head + Count++) % ring.Length] = sequence;
    }

    public void RemoveThrough(uint sequence)
    {
        while (Count > 0 && ring[head] <= sequence)
        {
            head = (head + 1) % ring.Length;
            Count--;
        }
    }

    /// <summary>Removes one sequence; false if it is not there.</summary>
    public bool Remove(uint sequence)
    {
        int low = 0, high = Count - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            uint found = this[middle];
            if (found == sequence)
            {
                RemoveAt(middle);
                return true;
            }

            if (found < sequence)
                low = middle + 1;
            else
                high = middle - 1;
        }

        return false;
    }

    private ref uint this[int index] => ref ring[(head + index) % ring.Length];

    // Refusals come in order as a rule, so what is before the one removed is little: that moves up.
    private void RemoveAt(int index)
    {
        for (int i = index; i > 0; i--)
            this[i] = this[i - 1];
        head = (head + 1) % ring.Length;
        Count--;
    }

    private void Grow()
    {
        var larger = new uint[ring.Length * 2];
        for (int i = 0; i < Count; i++)
            larger[i] = this[i];
        ring = larger;
        head = 0;
    }
}
