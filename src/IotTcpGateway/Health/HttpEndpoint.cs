using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;

using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Health;

/// <summary>Health, metrics and status over HTTP. Made only when configured.</summary>
internal sealed class HttpEndpoint(HttpOptions options, GatewayHealth health, ILoggerFactory loggers) : IAsyncDisposable
{
    private WebApplication? application;

    /// <summary>Where it listens, with the real port.</summary>
    public string Address => application?.Urls.First() ?? "";

    /// <summary>Begins to answer.</summary>
    /// <exception cref="IOException">The endpoint cannot be used.</exception>
    public async Task StartAsync()
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.Services.AddSingleton(loggers);
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxConcurrentConnections = 64;
            kestrel.Limits.MaxRequestBodySize = 0;
            kestrel.Listen(IPEndPoint.Parse(options.Endpoint));
        });
        // The last one that is registered serves.
        var listeners = new CalmListenerFactory(TimeProvider.System, loggers);
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
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (application is null)
            return;
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        await application.StopAsync(limit.Token).ConfigureAwait(false);
        await application.DisposeAsync().ConfigureAwait(false);
    }

    private Task AnswerAsync(HttpContext http)
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
