using System.Diagnostics.Metrics;
using System.Net;
using System.Text.Json;

using IotTcpGateway.Health;

using Microsoft.Extensions.Logging.Abstractions;

using Xunit;

namespace IotTcpGateway.Tests.Health;

public sealed class HttpEndpointTests : IAsyncLifetime
{
    private readonly Meter meter = new("test");
    private readonly HttpEndpoint endpoint;
    private readonly HttpClient client = new();
    private bool isAlive = true;
    private bool isReady = true;

    public HttpEndpointTests() => endpoint = new HttpEndpoint(
        new HttpOptions { Endpoint = "127.0.0.1:0" },
        Statuses.Health(meter, () => isAlive, () => isReady),
        TimeProvider.System,
        NullLoggerFactory.Instance);

    public async ValueTask InitializeAsync()
    {
        await endpoint.StartAsync();
        client.BaseAddress = new Uri(endpoint.Address);
    }

    public async ValueTask DisposeAsync()
    {
        client.Dispose();
        await endpoint.DisposeAsync();
        meter.Dispose();
    }

    [Fact]
    public async Task Health_StandsStill_Is503()
    {
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("healthz")).StatusCode);
        isAlive = false;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await client.GetAsync("healthz")).StatusCode);
    }

    [Fact]
    public async Task Ready_BufferFull_Is503()
    {
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("readyz")).StatusCode);
        isReady = false;
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await client.GetAsync("readyz")).StatusCode);
    }

    [Fact]
    public async Task Metrics_IsPrometheusText()
    {
        meter.CreateObservableGauge("iotgw_test", () => 1L, null, "A test.");
        HttpResponseMessage response = await client.GetAsync("metrics");
        Assert.Equal("text/plain", response.Content.Headers.ContentType!.MediaType);
        Assert.Contains("iotgw_test 1\n", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Status_IsJson()
    {
        using JsonDocument status = JsonDocument.Parse(await client.GetStringAsync("status"));
        Assert.Equal("mqtt://b:1883", status.RootElement.GetProperty("broker").GetProperty("address").GetString());
    }

    [Fact]
    public async Task Other_IsRefused()
    {
        Assert.Equal(HttpStatusCode.NotFound, (await client.GetAsync("nothing")).StatusCode);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await client.PostAsync("status", null)).StatusCode);
        HttpResponseMessage head = await client.SendAsync(new HttpRequestMessage(HttpMethod.Head, "status"));
        Assert.Equal(HttpStatusCode.OK, head.StatusCode);
        Assert.Empty(await head.Content.ReadAsByteArrayAsync());
    }
}
