namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>A durable queue as the gateway would use it, on one thread.</summary>
internal interface IQueue : IDisposable
{
    /// <summary>Changes with every payload that was read: nobody may skip reading one.</summary>
    ulong Seen { get; }

    void Append(ReadOnlySpan<byte> payload);

    /// <summary>Makes what was appended durable.</summary>
    void Commit();

    /// <summary>Reads on, at most so many records.</summary>
    int Read(int recordsMax);

    /// <summary>Removes what was read, durably.</summary>
    void Settle();

    /// <summary>Bytes written as the queue counts them, of records and of zeros ahead; NaN if it does not.</summary>
    (double Records, double Zeros) BytesWritten { get; }
}

/// <summary>The queues that are compared.</summary>
internal static class Engines
{
    public const string Journal = "journal";
    public const string JournalWithoutZeros = "journal-0";
    public const string Sqlite = "sqlite";
    public const string None = "none";

    public static IQueue Open(string engine, string directory)
    {
        Directory.CreateDirectory(directory);
        return engine switch
        {
            Journal => new JournalQueue(directory, zerosAhead: true),
            JournalWithoutZeros => new JournalQueue(directory, zerosAhead: false),
            Sqlite => new SqliteQueue(directory),
            _ => throw new ArgumentException($"no such queue: {engine}", nameof(engine)),
        };
    }
}
