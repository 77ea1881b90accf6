namespace IotTcpGateway.Forward;

/// <summary>
/// Publications in order of their coming, of which any may leave; a publication is in one list at a time.
/// </summary>
internal sealed class PublicationList
{
    private Publication? last;

    public Publication? First { get; private set; }

    public int Count { get; private set; }

    public void Add(Publication publication)
    {
        publication.Previous = last;
        publication.Next = null;
        if (last is null)
            First = publication;
        else
            last.Next = publication;
        last = publication;
        Count++;
    }

    public void Remove(Publication publication)
    {
        if (publication.Previous is null)
            First = publication.Next;
        else
            publication.Previous.Next = publication.Next;
        if (publication.Next is null)
            last = publication.Previous;
        else
            publication.Next.Previous = publication.Previous;
        publication.Previous = publication.Next = null;
        Count--;
    }
}
