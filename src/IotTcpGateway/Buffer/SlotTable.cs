using System.Diagnostics;

namespace IotTcpGateway.Buffer;

/// <summary>Objects by small numbers that fit into a record's header.</summary>
internal sealed class SlotTable<T>
    where T : class
{
    private readonly List<T?> items = [];
    private readonly Stack<int> free = [];

    public int NextSlot => free.Count > 0 ? free.Peek() : items.Count;

    public T this[int slot] => items[slot] ?? throw new UnreachableException($"slot {slot} is empty");

    public int Add(T item)
    {
        if (free.TryPop(out int slot))
        {
            items[slot] = item;
            return slot;
        }

        items.Add(item);
        return items.Count - 1;
    }

    public void Remove(int slot)
    {
        items[slot] = null;
        free.Push(slot);
    }
}
