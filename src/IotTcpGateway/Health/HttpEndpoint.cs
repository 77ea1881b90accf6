using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Health;

/// <summary>Health, metrics and status over HTTP. Made only when configured.</summary>
internal sealed class HttpEndpoint(HttpOptions options, GatewayHealth health, TimeProvider time, ILoggerFactory loggers)
    : IAsyncDisposable
{
    private const int HeaderBytesMax = 8 << 10;
    private const int RequestLineBytesMax = 2 << 10;
    private const int HeadersMax = 64;

    private static readonly TimeSpan HeadersLimit = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan KeepAliveLimit = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan RefreshInterval = TimeSpan.FromSeconds(2);

    private readonly ILogger logger = loggers.CreateLogger(LogCategory);
    private readonly Lock refreshing = new();
    private HttpGuard? guard;
    private HttpCertificate? certificate;
    private ITimer? timer;
    private WebApplication? application;

    /// <summary>The category of the gateway's own lines.</summary>
    public const string LogCategory = "iotgw";

    /// <summary>Where it listens, with the real port.</summary>
    public string Address =>
        (application?.Urls.First() ?? "").Replace("http://", options.Tls is null ? "http://" : "https://");

    /// <summary>Begins to answer.</summary>
    /// <exception cref="IOException">The endpoint or the certificate cannot be used.</exception>
    public async Task StartAsync()
    {
        guard = new HttpGuard(options, health.Metrics, time, logger);
        guard.Credentials.Refresh();
        if (options.Tls is { Certificate: { } file, Key: { } key })
        {
            certificate = new HttpCertificate(file, key, logger);
            certificate.Start();
        }

        IPEndPoint endpoint = options.ParsedEndpoint;
        var line = new HttpLine(certificate, !IPAddress.IsLoopback(endpoint.Address), time, logger);
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            Limit(kestrel.Limits);
            kestrel.Listen(endpoint, listen =>
            {
                listen.Protocols = HttpProtocols.Http1;
                listen.Use(next => connection => line.ServeAsync(connection, next));
            });
        });
        // The last one that is registered serves.
        var listeners = new CalmListenerFactory(time, loggers);
        builder.Services.AddSingleton<IConnectionListenerFactory>(listeners);
        application = builder.Build();
        application.Run(AnswerAsync);
        try
        {
            await application.StartAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            throw new IOException(
                $"http cannot use {options.Endpoint}: {e.GetBaseException().Message}; name another http.endpoint", e);
        }

        if (options.IsGuarded || certificate is not null)
            timer = time.CreateTimer(_ => Refresh(), null, RefreshInterval, RefreshInterval);
    }

    /// <summary>Reads secrets and certificate again; also done by itself every two seconds.</summary>
    public void Refresh()
    {
        lock (refreshing)
        {
            guard?.Credentials.Refresh();
            certificate?.Refresh();
        }
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        timer?.Dispose();
        if (application is null)
            return;
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        await application.StopAsync(limit.Token).ConfigureAwait(false);
        await application.DisposeAsync().ConfigureAwait(false);
    }

    private static void Limit(KestrelServerLimits limits)
    {
        limits.MaxConcurrentConnections = HttpLine.ConnectionsMax;
        limits.MaxRequestBodySize = 0;
        limits.MaxRequestLineSize = RequestLineBytesMax;
        limits.MaxRequestHeadersTotalSize = HeaderBytesMax;
        limits.MaxRequestHeaderCount = HeadersMax;
        limits.RequestHeadersTimeout = HeadersLimit;
        limits.KeepAliveTimeout = KeepAliveLimit;
    }

    private Task AnswerAsync(HttpContext http)
    {
        // Whoever shows nothing learns nothing, not even what there is.
        IPAddress address = http.Connection.RemoteIpAddress ?? IPAddress.None;
        switch (guard!.Judge(http.Request.Headers.Authorization, address, out TimeSpan wait))
        {
            case HttpVerdict.Unauthorized:
                http.Response.Headers.WWWAuthenticate = guard.Credentials.Challenges;
                return WriteAsync(
                    http, StatusCodes.Status401Unauthorized, "text/plain", "say who you are: see http in the configuration\n");
            case HttpVerdict.TooMany:
                http.Response.Headers.RetryAfter = Math.Ceiling(wait.TotalSeconds).ToString(CultureInfo.InvariantCulture);
                return WriteAsync(
                    http, StatusCodes.Status429TooManyRequests, "text/plain", "too many wrong credentials from you: wait\n");
            default:
                return AnswerInsiderAsync(http);
        }
    }

    private Task AnswerInsiderAsync(HttpContext http)
    {
        if (!HttpMethods.IsGet(http.Request.Method) && !HttpMethods.IsHead(http.Request.Method))
        {
            http.Response.Headers.Allow = "GET, HEAD";
            return WriteAsync(http, StatusCodes.Status405MethodNotAllowed, "text/plain", "only GET is answered here\n");
        }

        return http.Request.Path.Value switch
        {
            "/healthz" => WriteCheckAsync(http, health.IsAlive, "the pipeline turns over", "a part of the pipeline stands still"),
            "/readyz" => WriteReadyAsync(http, health.Status()),
            "/metrics" => WriteAsync(http, StatusCodes.Status200OK, "text/plain; version=0.0.4; charset=utf-8", health.Metrics.Write()),
            "/status" => WriteAsync(
                http,
                StatusCodes.Status200OK,
                "application/json",
                JsonSerializer.Serialize(health.Status(), StatusJson.Default.GatewayStatus)),
            _ => WriteAsync(
                http, StatusCodes.Status404NotFound, "text/plain", "here are /healthz, /readyz, /metrics and /status\n"),
        };
    }

    // Ready although the disk is not well: it takes frames, and forwards them while the broker is there.
    private static Task WriteReadyAsync(HttpContext http, GatewayStatus status) => WriteCheckAsync(
        http,
        status.IsReady,
        "ready" + status.Buffer.Disk.Trouble,
        "not ready: not listening, or the buffer is full" + status.Buffer.Disk.Trouble);

    private static Task WriteCheckAsync(HttpContext http, bool isRight, string right, string wrong) => isRight
        ? WriteAsync(http, StatusCodes.Status200OK, "text/plain", right + "\n")
        : WriteAsync(http, StatusCodes.Status503ServiceUnavailable, "text/plain", wrong + "\n");

    private static Task WriteAsync(HttpContext http, int code, string type, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        http.Response.StatusCode = code;
        http.Response.ContentType = type;
        http.Response.ContentLength = bytes.Length;
        http.Response.Headers.CacheControl = "no-store";
        return HttpMethods.IsHead(http.Request.Method)
            ? Task.CompletedTask
            : http.Response.Body.WriteAsync(bytes).AsTask();
    }
}
