using System.Diagnostics.CodeAnalysis;

namespace IotTcpGateway.Time;

/// <summary>
/// What is remembered of those who were heard of last: at most so many, whoever was longest not heard of goes. Not safe
/// for several threads.
/// </summary>
internal sealed class RecentTable<TKey, TValue>(int entriesMax)
    where TKey : notnull
{
    private readonly Dictionary<TKey, LinkedListNode<KeyValuePair<TKey, TValue>>> nodes = [];

    // The one longest not heard of is first.
    private readonly LinkedList<KeyValuePair<TKey, TValue>> order = new();

    public int Count => nodes.Count;

    /// <summary>All, the one longest not heard of first.</summary>
    public IEnumerable<KeyValuePair<TKey, TValue>> Entries => order;

    public bool TryGet(TKey key, [MaybeNullWhen(false)] out TValue value)
    {
        bool isThere = nodes.TryGetValue(key, out LinkedListNode<KeyValuePair<TKey, TValue>>? node);
        value = isThere ? node!.Value.Value : default;
        return isThere;
    }

    /// <summary>Adds or replaces; it was heard of just now.</summary>
    public void Set(TKey key, TValue value)
    {
        Remove(key);
        if (nodes.Count == entriesMax)
            Remove(order.First!.Value.Key);
        nodes.Add(key, order.AddLast(new KeyValuePair<TKey, TValue>(key, value)));
    }

    public void Remove(TKey key)
    {
        if (nodes.Remove(key, out LinkedListNode<KeyValuePair<TKey, TValue>>? node))
            order.Remove(node);
    }
}
