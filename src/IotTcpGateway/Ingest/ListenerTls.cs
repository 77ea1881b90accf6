using IotTcpGateway.Tls;

namespace IotTcpGateway.Ingest;

/// <summary>TLS of one listener: the files in force, and the pace of handshakes.</summary>
internal sealed class ListenerTls : IDisposable
{
    private readonly TlsWatch watch;
    private readonly IngestContext context;
    private volatile bool needsCertificate;

    /// <summary>Reads the files; throws <see cref="TlsFileException"/>.</summary>
    public ListenerTls(ListenerOptions options, IngestContext context, Action changed)
    {
        this.context = context;
        Pace = new HandshakePace(context.Time);
        Take(options);
        watch = new TlsWatch(options.Name, options.Tls!, context.Time, context.Logger);
        watch.Changed += _ =>
        {
            // A handshake that ends at this moment looks at the files after its identity is seen.
            Interlocked.MemoryBarrier();
            changed();
        };
    }

    public HandshakePace Pace { get; }

    public TlsMaterial Current => watch.Current;

    /// <summary>Takes changed limits and paths, and reads the files again.</summary>
    public void Change(ListenerOptions options)
    {
        Take(options);
        if (options.Tls is not null)
            watch.Reload(options.Tls);
    }

    /// <summary>Runs a handshake with what is in force; null if it failed.</summary>
    public Task<TlsChannel?> RunAsync(TlsHandshake handshake, CancellationToken stopping) =>
        handshake.RunAsync(Current, needsCertificate, context.Clock, context.Time, stopping);

    /// <inheritdoc/>
    public void Dispose()
    {
        watch.Dispose();
        Pace.Dispose();
    }

    private void Take(ListenerOptions options)
    {
        Pace.PerSecond = options.Tls?.HandshakesPerSecond ?? Pace.PerSecond;
        needsCertificate = options.Authentication is ["certificate"];
    }
}
