using System.Net;

using IotTcpGateway.Time;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Health;

/// <summary>Who is answered.</summary>
internal enum HttpVerdict
{
    Answer,

    /// <summary>401: nothing, or the wrong thing, was shown.</summary>
    Unauthorized,

    /// <summary>429: too many wrong ones came from there; it is not even looked at what was shown.</summary>
    TooMany,
}

/// <summary>Lets those in over HTTP who show the right thing, and slows down who guesses.</summary>
internal sealed partial class HttpGuard
{
    private readonly HttpOptions options;
    private readonly ILogger logger;
    private readonly FailedAddresses failed;
    private readonly LogLimit limit;
    private long failures;

    public HttpGuard(HttpOptions options, MetricsRegistry metrics, TimeProvider time, ILogger logger)
    {
        this.options = options;
        this.logger = logger;
        failed = new FailedAddresses(time);
        limit = new LogLimit(time);
        Credentials = new HttpCredentials(options, logger);
        metrics.Meter.CreateObservableCounter(
            "iotgw_http_authentication_failures_total",
            () => Interlocked.Read(ref failures),
            null,
            "HTTP requests with wrong credentials, and those not listened to after too many of them.");
    }

    public HttpCredentials Credentials { get; }

    /// <summary>Judges a request.</summary>
    /// <param name="authorization">The value of "Authorization".</param>
    /// <param name="address">Where it comes from.</param>
    /// <param name="wait">With <see cref="HttpVerdict.TooMany"/>: how long that lasts.</param>
    public HttpVerdict Judge(string? authorization, IPAddress address, out TimeSpan wait)
    {
        wait = TimeSpan.Zero;
        if (!options.IsGuarded)
            return HttpVerdict.Answer;
        wait = failed.Refused(address);
        if (wait > TimeSpan.Zero)
        {
            Interlocked.Increment(ref failures);
            return HttpVerdict.TooMany;
        }

        ShownCredential shown = Credentials.Judge(authorization);
        if (shown == ShownCredential.Wrong)
        {
            Interlocked.Increment(ref failures);
            failed.Add(address);
            if (limit.Passes())
                LogFailed(logger, address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address);
        }

        // A browser asks without first: that is no failure.
        return shown == ShownCredential.Right ? HttpVerdict.Answer : HttpVerdict.Unauthorized;
    }

    [LoggerMessage(1614, LogLevel.Warning,
        "somebody at {Address} showed wrong credentials over HTTP: if it is a monitor of yours, "
        + "compare its token or password with the file")]
    private static partial void LogFailed(ILogger logger, IPAddress address);
}
