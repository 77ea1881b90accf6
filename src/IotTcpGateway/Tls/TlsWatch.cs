using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Tls;

/// <summary>
/// The TLS files of one listener in force: read at the start, on demand, and within a second or two of their change. Files
/// that do not fit one another leave the older ones in force: as a rule they are being replaced one after the other, so
/// that is told only when it lasts. Safe for several threads.
/// </summary>
internal sealed partial class TlsWatch : IDisposable
{
    private static readonly TimeSpan CheckInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ExpiresSoon = TimeSpan.FromDays(14);
    private static readonly TimeSpan WarnInterval = TimeSpan.FromDays(1);

    private readonly string listener;
    private readonly TimeProvider time;
    private readonly ILogger logger;
    private readonly Lock gate = new();
    private readonly ITimer timer;
    private ListenerTlsOptions options;
    private TlsMaterial current;
    private (FileStamp, FileStamp, FileStamp, FileStamp) seen;
    private long? wrongSince;
    private long triedAt;
    private bool isWrongTold;
    private bool isStaleListTold;
    private long? warnedAt;

    /// <summary>Reads the files; throws <see cref="TlsFileException"/>.</summary>
    public TlsWatch(string listener, ListenerTlsOptions options, TimeProvider time, ILogger logger)
    {
        this.listener = listener;
        this.options = options;
        this.time = time;
        this.logger = logger;
        seen = Look();
        current = TlsMaterial.Read(options);
        Tell(current);
        timer = time.CreateTimer(_ => Check(), null, CheckInterval, CheckInterval);
    }

    /// <summary>Newer files are in force: sessions that they no longer cover are to end.</summary>
    public event Action<TlsMaterial>? Changed;

    public TlsMaterial Current => Volatile.Read(ref current);

    /// <summary>Takes changed paths, and reads the files whether they changed or not.</summary>
    public void Reload(ListenerTlsOptions changed)
    {
        TlsMaterial? taken;
        lock (gate)
        {
            options = changed;
            taken = TryTakeNeedsLock(isTold: true);
        }

        if (taken is not null)
            Changed?.Invoke(taken);
    }

    /// <inheritdoc/>
    public void Dispose() => timer.Dispose();

    private void Check()
    {
        TlsMaterial? taken = null;
        lock (gate)
        {
            bool isOld = wrongSince is { } since && time.GetElapsedTime(since) >= Patience;
            // What is wrong is read again now and then, changed or not: perhaps no descriptor was free.
            if (Look() != seen || (wrongSince is not null && time.GetElapsedTime(triedAt) >= Patience))
                taken = TryTakeNeedsLock(isTold: isOld);
            WarnNeedsLock();
        }

        if (taken is not null)
            Changed?.Invoke(taken);
    }

    private TlsMaterial? TryTakeNeedsLock(bool isTold)
    {
        seen = Look();
        triedAt = time.GetTimestamp();
        try
        {
            var read = TlsMaterial.Read(options);
            Volatile.Write(ref current, read);
            (wrongSince, isWrongTold, isStaleListTold, warnedAt) = (null, false, false, null);
            Tell(read);
            return read;
        }
        catch (TlsFileException e)
        {
            wrongSince ??= time.GetTimestamp();
            if (isTold && !isWrongTold)
                LogNotTaken(logger, listener, e.Key, e.Message);
            isWrongTold |= isTold;
            return null;
        }
    }

    private (FileStamp, FileStamp, FileStamp, FileStamp) Look() => (
        FileStamp.Of(options.Certificate), FileStamp.Of(options.Key), FileStamp.Of(options.ClientCa), FileStamp.Of(options.Crl));

    private void Tell(TlsMaterial taken)
    {
        LogTaken(logger, listener, taken.Own.Subject, taken.NotAfter);
        foreach (RevocationList list in taken.Clients?.Lists ?? [])
            LogListTaken(logger, listener, list.IssuerName, list.Count);
    }

    private void WarnNeedsLock()
    {
        TlsMaterial now = Current;
        TimeSpan left = now.NotAfter - time.GetUtcNow();
        if (left < ExpiresSoon && (warnedAt is null || time.GetElapsedTime(warnedAt.Value) >= WarnInterval))
        {
            warnedAt = time.GetTimestamp();
            LogExpires(logger, listener, now.Own.Subject, now.NotAfter);
        }

        if (isStaleListTold)
            return;
        foreach (RevocationList list in now.Clients?.Lists ?? [])
        {
            if (list.NextUpdate < time.GetUtcNow())
            {
                isStaleListTold = true;
                LogStaleList(logger, listener, list.IssuerName, list.NextUpdate.Value);
            }
        }
    }

    [LoggerMessage(1230, LogLevel.Information, "listener {Listener}: certificate \"{Subject}\" is in force, valid until {NotAfter:u}")]
    private static partial void LogTaken(ILogger logger, string listener, string subject, DateTimeOffset notAfter);

    [LoggerMessage(1231, LogLevel.Error,
        "listener {Listener}: tls.{Key} is not taken, what was read before stays in force: {Why}")]
    private static partial void LogNotTaken(ILogger logger, string listener, string key, string why);

    [LoggerMessage(1232, LogLevel.Warning,
        "listener {Listener}: certificate \"{Subject}\" ends at {NotAfter:u}, devices will then refuse it: put a new one in its place")]
    private static partial void LogExpires(ILogger logger, string listener, string subject, DateTimeOffset notAfter);

    [LoggerMessage(1233, LogLevel.Warning,
        "listener {Listener}: the revocation list of \"{Issuer}\" should have been renewed by {NextUpdate:u}: it goes on "
        + "revoking what it names; fetch a newer one")]
    private static partial void LogStaleList(ILogger logger, string listener, string issuer, DateTimeOffset nextUpdate);

    [LoggerMessage(1234, LogLevel.Information, "listener {Listener}: \"{Issuer}\" has revoked {Count} certificates")]
    private static partial void LogListTaken(ILogger logger, string listener, string issuer, int count);
}
