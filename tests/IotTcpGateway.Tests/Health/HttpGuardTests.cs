using System.Diagnostics.Metrics;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text;

using IotTcpGateway.Health;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Health;

public sealed class HttpGuardTests : IAsyncLifetime
{
    private const string Token = "a-token-that-nobody-guesses";
    private const string Password = "pass:wörd";

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("iotgw-http-");
    private readonly FakeTimeProvider time = new();
    private readonly Meter meter = new("test");
    private readonly RecordedLog log = new();
    private readonly HttpClient client = new();
    private readonly HttpOptions options;
    private readonly GatewayHealth health;
    private HttpEndpoint? endpoint;

    public HttpGuardTests()
    {
        options = new HttpOptions
        {
            Endpoint = "127.0.0.1:0",
            TokenFile = Path.Combine(folder.FullName, "token"),
            Username = "operator",
            PasswordFile = Path.Combine(folder.FullName, "password"),
        };
        File.WriteAllText(options.TokenFile, Token + "\n");
        File.WriteAllText(options.PasswordFile, Password + "\n");
        health = Statuses.Health(meter);
    }

    public async ValueTask InitializeAsync() => await StartAsync();

    public async ValueTask DisposeAsync()
    {
        client.Dispose();
        await endpoint!.DisposeAsync();
        meter.Dispose();
        folder.Delete(recursive: true);
    }

    [Theory]
    [InlineData("healthz")]
    [InlineData("readyz")]
    [InlineData("metrics")]
    [InlineData("status")]
    [InlineData("")]
    [InlineData("nothing")]
    public async Task Get_NothingShown_Is401WithoutAnything(string path)
    {
        using HttpResponseMessage response = await GetAsync(path, null);
        Assert.Equal(HttpStatusCode.Unauthorized, response.StatusCode);
        Assert.Equal(["Bearer", "Basic"], response.Headers.WwwAuthenticate.Select(c => c.Scheme));
        Assert.DoesNotContain("pipeline", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Post_NothingShown_Is401() =>
        Assert.Equal(HttpStatusCode.Unauthorized, (await client.PostAsync("status", null)).StatusCode);

    [Theory]
    [InlineData("Bearer " + Token, true)]
    [InlineData("bearer " + Token, true)]
    [InlineData("Bearer " + Token + "x", false)]
    [InlineData("Bearer a-token", false)]
    [InlineData("Bearer ", false)]
    [InlineData("Bearer", false)]
    [InlineData(Token, false)]
    [InlineData("Basic " + Token, false)]
    [InlineData("Digest " + Token, false)]
    public async Task Get_Token(string shown, bool isRight) => Assert.Equal(
        isRight ? HttpStatusCode.OK : HttpStatusCode.Unauthorized, (await GetAsync("healthz", shown)).StatusCode);

    [Theory]
    [InlineData("operator:" + Password, true)]
    [InlineData("operator:" + Token, false)]
    [InlineData("operator:", false)]
    [InlineData("operator", false)]
    [InlineData("Operator:" + Password, false)]
    [InlineData(":" + Password, false)]
    [InlineData("operator:" + Password + "\n", false)]
    public async Task Get_Password(string pair, bool isRight) => Assert.Equal(
        isRight ? HttpStatusCode.OK : HttpStatusCode.Unauthorized, (await GetAsync("healthz", Basic(pair))).StatusCode);

    [Fact]
    public async Task Get_NothingShownOften_IsNoFailure()
    {
        for (int i = 0; i < 2 * FailedAddresses.FailuresMax; i++)
            await GetAsync("healthz", null);
        Assert.Equal(HttpStatusCode.OK, (await GetAsync("healthz", "Bearer " + Token)).StatusCode);
        Assert.Equal(0, Failures());
    }

    [Fact]
    public async Task Get_WrongTooOften_Is429UntilTheMinuteIsOver()
    {
        for (int i = 0; i < FailedAddresses.FailuresMax; i++)
            Assert.Equal(HttpStatusCode.Unauthorized, (await GetAsync("healthz", "Bearer wrong")).StatusCode);
        using HttpResponseMessage refused = await GetAsync("healthz", "Bearer " + Token);
        Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        Assert.Equal(TimeSpan.FromMinutes(1), refused.Headers.RetryAfter!.Delta);
        Assert.Equal(FailedAddresses.FailuresMax + 1, Failures());
        Assert.InRange(log.Of(1614).Count, 1, 10);
        time.Advance(TimeSpan.FromMinutes(1));
        Assert.Equal(HttpStatusCode.OK, (await GetAsync("healthz", "Bearer " + Token)).StatusCode);
    }

    [Fact]
    public void Judge_AnotherAddressIsRefused_RightOneGetsIn()
    {
        var guard = new HttpGuard(options, health.Metrics, time, log);
        guard.Credentials.Refresh();
        for (int i = 0; i <= FailedAddresses.FailuresMax; i++)
            guard.Judge("Bearer wrong", IPAddress.Parse("192.0.2.1"), out _);
        Assert.Equal(HttpVerdict.TooMany, guard.Judge("Bearer " + Token, IPAddress.Parse("192.0.2.1"), out _));
        Assert.Equal(HttpVerdict.Answer, guard.Judge("Bearer " + Token, IPAddress.Parse("192.0.2.2"), out _));
    }

    [Fact]
    public async Task Refresh_SecretChanges_OldOneIsWorthNothingWithinSeconds()
    {
        File.WriteAllText(options.TokenFile!, "another");
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal(HttpStatusCode.Unauthorized, (await GetAsync("healthz", "Bearer " + Token)).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await GetAsync("healthz", "Bearer another")).StatusCode);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("\n")]
    public async Task Refresh_NoSecretAnyMore_NobodyGetsInLoudly(string? content)
    {
        File.Delete(options.TokenFile!);
        if (content is not null)
            File.WriteAllText(options.TokenFile!, content);
        endpoint!.Refresh();
        endpoint.Refresh();
        foreach (string shown in new[] { "Bearer " + Token, "Bearer ", "Bearer \"\"" })
            Assert.Equal(HttpStatusCode.Unauthorized, (await GetAsync("healthz", shown)).StatusCode);
        Assert.Single(log.Of(1613));
        Assert.Equal(HttpStatusCode.OK, (await GetAsync("healthz", Basic("operator:" + Password))).StatusCode);
    }

    [Fact]
    public async Task Log_NeverHasWhatWasShown()
    {
        await GetAsync("healthz", "Bearer wrong-but-close");
        await GetAsync("healthz", Basic("operator:nearly-right"));
        await GetAsync("healthz", "Bearer " + Token);
        string all = string.Join('\n', log.Lines);
        foreach (string secret in new[] { Token, Password, "wrong-but-close", "nearly-right", "operator" })
            Assert.DoesNotContain(secret, all, StringComparison.Ordinal);
        Assert.NotEmpty(log.Of(1614));
    }

    [Theory]
    [InlineData("X-Long", 9000, HttpStatusCode.RequestHeaderFieldsTooLarge)]
    public async Task Get_HeadersTooLarge_AreRefused(string name, int length, HttpStatusCode expected)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "healthz");
        request.Headers.Add(name, new string('x', length));
        Assert.Equal(expected, (await client.SendAsync(request)).StatusCode);
    }

    private async Task StartAsync()
    {
        endpoint = new HttpEndpoint(options, health, time, log);
        await endpoint.StartAsync();
        client.BaseAddress = new Uri(endpoint.Address);
    }

    private async Task<HttpResponseMessage> GetAsync(string path, string? shown)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        if (shown is not null)
            Assert.True(request.Headers.TryAddWithoutValidation("Authorization", shown));
        return await client.SendAsync(request);
    }

    private static string Basic(string pair) => new AuthenticationHeaderValue("Basic", Convert.ToBase64String(Encoding.UTF8.GetBytes(pair))).ToString();

    private int Failures()
    {
        const string name = "iotgw_http_authentication_failures_total ";
        string line = health.Metrics.Write().Split('\n').Single(l => l.StartsWith(name, StringComparison.Ordinal));
        return int.Parse(line[name.Length..], CultureInfo.InvariantCulture);
    }
}
