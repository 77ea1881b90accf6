using System.Diagnostics.Metrics;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.Health;
using IotTcpGateway.TestKit;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Health;

public sealed class HttpTlsTests : IAsyncLifetime
{
    private readonly TestAuthority authority = new("http");
    private readonly FakeTimeProvider time = new();
    private readonly Meter meter = new("test");
    private readonly RecordedLog log = new();
    private readonly HttpOptions options;
    private HttpEndpoint? endpoint;

    public HttpTlsTests()
    {
        CertificateFiles files = authority.Issue("gateway");
        options = new HttpOptions
        {
            Endpoint = "127.0.0.1:0",
            Tls = new HttpTlsOptions { Certificate = files.Certificate, Key = files.Key },
        };
    }

    public async ValueTask InitializeAsync()
    {
        endpoint = new HttpEndpoint(options, Statuses.Health(meter), time, log);
        await endpoint.StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await endpoint!.DisposeAsync();
        meter.Dispose();
        authority.Dispose();
    }

    [Fact]
    public async Task Get_OverTls_IsAnsweredAgainAndAgainOnOneConnection()
    {
        Assert.StartsWith("https://", endpoint!.Address, StringComparison.Ordinal);
        using HttpClient client = Client(out _);
        for (int i = 0; i < 50; i++)
            Assert.Contains("mqtt://b:1883", await client.GetStringAsync("status"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(SslProtocols.Tls12, true)]
    [InlineData(SslProtocols.Tls13, true)]
#pragma warning disable SYSLIB0039, CA5397 // What must be refused has to be offered.
    [InlineData(SslProtocols.Tls11, false)]
#pragma warning restore SYSLIB0039, CA5397
    public async Task Handshake_OfAVersion(SslProtocols version, bool isTaken)
    {
        using Socket socket = await ConnectAsync();
        await using var tls = new SslStream(new NetworkStream(socket), false, (_, shown, _, _) => shown!.Subject == "CN=gateway");
        Task handshake = tls.AuthenticateAsClientAsync(
            new SslClientAuthenticationOptions { TargetHost = "localhost", EnabledSslProtocols = version });
        if (isTaken)
            await handshake;
        else
            await Assert.ThrowsAnyAsync<Exception>(() => handshake);
    }

    [Fact]
    public async Task Plain_OnTheTlsPort_IsClosed()
    {
        using Socket socket = await ConnectAsync();
        await socket.SendAsync("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"u8.ToArray());
        Assert.DoesNotContain("200 OK", await ReadToEndAsync(socket), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Silence_InTheHandshake_IsClosedAfterTheLimit()
    {
        using Socket socket = await ConnectAsync();
        await socket.SendAsync(new byte[] { 0x16 });
        // Until the connection is in its handshake nothing may be advanced: it would begin its limit afterwards.
        using HttpClient client = Client(out _);
        await client.GetStringAsync("healthz");
        Task<string> end = ReadToEndAsync(socket);
        // Twelve limits, in case it begins late; real time is waited for only where nothing comes.
        for (int i = 0; i < 12 && !end.IsCompleted; i++)
        {
            time.Advance(TimeSpan.FromSeconds(5));
            await Task.WhenAny(end, Task.Delay(TimeSpan.FromSeconds(1), TestContext.Current.CancellationToken));
        }

        Assert.True(end.IsCompleted);
        Assert.Equal("", await end);
    }

    [Fact]
    public async Task Refresh_CertificateChanges_NewConnectionsHaveIt_OldOnesLive()
    {
        using HttpClient before = Client(out Func<string> shownBefore);
        await before.GetStringAsync("healthz");
        Replace(authority.Issue("renewed"));
        time.Advance(TimeSpan.FromSeconds(2));
        await before.GetStringAsync("healthz");
        Assert.Equal("CN=gateway", shownBefore());
        using HttpClient after = Client(out Func<string> shownAfter);
        await after.GetStringAsync("healthz");
        Assert.Equal("CN=renewed", shownAfter());
        Assert.Single(log.Of(1615));
    }

    [Fact]
    public async Task Refresh_KeyDoesNotFit_OldOneStaysInForce()
    {
        File.Copy(authority.Issue("other").Certificate, options.Tls!.Certificate!, overwrite: true);
        endpoint!.Refresh();
        endpoint.Refresh();
        Assert.Single(log.Of(1616));
        using HttpClient client = Client(out Func<string> shown);
        await client.GetStringAsync("healthz");
        Assert.Equal("CN=gateway", shown());
    }

    [Fact]
    public async Task Start_NoCertificate_SaysWhatToDo()
    {
        File.WriteAllText(options.Tls!.Key!, "no key");
        await using var other = new HttpEndpoint(options, Statuses.Health(meter), time, log);
        IOException e = await Assert.ThrowsAsync<IOException>(other.StartAsync);
        Assert.Contains("http.tls", e.Message, StringComparison.Ordinal);
        Assert.Contains("PEM", e.Message, StringComparison.Ordinal);
    }

    private HttpClient Client(out Func<string> shown)
    {
        string subject = "";
        var handler = new SocketsHttpHandler();
        handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, chain, _) =>
        {
            subject = certificate!.Subject;
            chain!.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            chain.ChainPolicy.CustomTrustStore.ImportFromPemFile(authority.CaFile);
            return chain.Build((X509Certificate2)certificate);
        };
        shown = () => subject;
        return new HttpClient(handler) { BaseAddress = new Uri(endpoint!.Address) };
    }

    private void Replace(CertificateFiles files)
    {
        File.Copy(files.Certificate, options.Tls!.Certificate!, overwrite: true);
        File.Copy(files.Key, options.Tls.Key!, overwrite: true);
    }

    private async Task<Socket> ConnectAsync()
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(IPAddress.Loopback, new Uri(endpoint!.Address).Port);
        return socket;
    }

    private static async Task<string> ReadToEndAsync(Socket socket)
    {
        byte[] buffer = new byte[4096];
        var text = new System.Text.StringBuilder();
        try
        {
            while (await socket.ReceiveAsync(buffer) is > 0 and int bytes)
                text.Append(System.Text.Encoding.Latin1.GetString(buffer, 0, bytes));
        }
        catch (SocketException)
        {
            // Reset is an end too.
        }

        return text.ToString();
    }
}
