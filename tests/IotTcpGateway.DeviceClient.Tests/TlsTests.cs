using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public sealed class TlsTests : IDisposable
{
    private readonly string folder = Directory.CreateTempSubdirectory("device-client-").FullName;
    private readonly X509Certificate2 authority = NewAuthority();

    public void Dispose()
    {
        authority.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Tls_RightAuthorityAndName_Connects()
    {
        await using ScriptedGateway gateway = NewGateway("localhost");
        await using DeviceClient client = NewClient(gateway, "localhost", PemOf(authority));
        client.Start();
        ScriptedConnection connection = await gateway.WelcomeAsync();
        Assert.Equal(AuthenticationMode.None, connection.Hello!.Authentication);
        client.TrySend(Rig.Body(1), out _);
        await Rig.ExpectDataAsync(connection, 1);
        await connection.AckAsync(1, 10);
        await Guard.Limit(client.FlushAsync());
        await gateway.DisposeAsync();
    }

    [Theory]
    [InlineData("other", "localhost")]
    [InlineData("right", "gateway.example")]
    [InlineData("system", "localhost")]
    public async Task Tls_WrongAuthorityOrName_IsNotTrusted(string trusted, string name)
    {
        using X509Certificate2 other = NewAuthority();
        await using ScriptedGateway gateway = NewGateway(name);
        var waiting = new TaskCompletionSource<ConnectionEnd>();
        string? authorities = trusted switch { "other" => PemOf(other), "right" => PemOf(authority), _ => null };
        await using DeviceClient client = NewClient(gateway, "localhost", authorities, onEnd: waiting);
        client.TrySend(Rig.Body(1), out _);
        client.Start();
        Task accepting = Assert.ThrowsAnyAsync<Exception>(async () =>
        {
            ScriptedConnection connection = await gateway.AcceptAsync();
            await connection.ReceiveHelloAsync();
        });
        Assert.Equal(ConnectionEndKind.GatewayNotTrusted, (await Guard.Limit(waiting.Task)).Kind);
        await accepting;
        Assert.Equal(0, client.Status.Connects);
    }

    [Fact]
    public async Task Tls_ServerNameGiven_IsTheOneChecked()
    {
        await using ScriptedGateway gateway = NewGateway("gateway.example");
        await using DeviceClient client = NewClient(
            gateway, "localhost", PemOf(authority), serverName: "gateway.example");
        client.Start();
        await gateway.WelcomeAsync();
        await gateway.DisposeAsync();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Tls_ClientCertificate_IsShownAndSaidInHello(bool keyInOneFile)
    {
        using X509Certificate2 own = NewCertificate("press-7");
        string certificate = Path.Combine(folder, "own.pem");
        string? key = keyInOneFile ? null : Path.Combine(folder, "own.key");
        using ECDsa pair = own.GetECDsaPrivateKey()!;
        File.WriteAllText(certificate, own.ExportCertificatePem() + "\n");
        File.AppendAllText(key ?? certificate, pair.ExportPkcs8PrivateKeyPem());
        await using ScriptedGateway gateway = NewGateway("localhost", wantsClient: true);
        await using DeviceClient client = NewClient(gateway, "localhost", PemOf(authority), certificate, key);
        client.Start();
        ScriptedConnection connection = await gateway.WelcomeAsync();
        Assert.Equal(AuthenticationMode.Certificate, connection.Hello!.Authentication);
        Assert.Equal("CN=press-7", ((SslStream)connection.Stream).RemoteCertificate!.Subject);
        await gateway.DisposeAsync();
    }

    [Fact]
    public void Constructor_FileIsMissingOrEmpty_Throws()
    {
        Assert.ThrowsAny<Exception>(() => New(new DeviceTlsOptions { CaFile = Path.Combine(folder, "none.pem") }));
        string empty = Path.Combine(folder, "empty.pem");
        File.WriteAllText(empty, "");
        Assert.Throws<ArgumentException>(() => New(new DeviceTlsOptions { CaFile = empty }));
        Assert.Throws<CryptographicException>(() => New(new DeviceTlsOptions { CertificateFile = empty }));

        static DeviceClient New(DeviceTlsOptions tls) =>
            new(new DeviceClientOptions { Host = "gateway", Port = 1, DeviceId = "press-7", Tls = tls });
    }

    private ScriptedGateway NewGateway(string name, bool wantsClient = false)
    {
        X509Certificate2 certificate = NewCertificate(name);
        return new ScriptedGateway
        {
            Tls = new SslServerAuthenticationOptions
            {
                ServerCertificate = certificate,
                ClientCertificateRequired = wantsClient,
                RemoteCertificateValidationCallback = (_, shown, _, _) => !wantsClient || shown is not null,
            },
        };
    }

    private static DeviceClient NewClient(
        ScriptedGateway gateway, string host, string? authorities, string? certificate = null, string? key = null,
        string? serverName = null, TaskCompletionSource<ConnectionEnd>? onEnd = null) => new(new DeviceClientOptions
        {
            Host = host,
            Port = gateway.Port,
            DeviceId = "press-7",
            Tls = new DeviceTlsOptions
            {
                CaFile = authorities,
                CertificateFile = certificate,
                KeyFile = key,
                ServerName = serverName,
            },
            OnStateChanged = state =>
            {
                if (state.Phase == DeviceClientPhase.Waiting)
                    onEnd?.TrySetResult(state.LastEnd!);
            },
        });

    private string PemOf(X509Certificate2 certificate)
    {
        string file = Path.Combine(folder, $"{certificate.Thumbprint}.pem");
        File.WriteAllText(file, certificate.ExportCertificatePem());
        return file;
    }

    private X509Certificate2 NewCertificate(string name)
    {
        using var pair = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", pair, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(name);
        request.CertificateExtensions.Add(names.Build());
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        using X509Certificate2 signed = request.Create(
            authority, now.AddHours(-1), now.AddHours(1), RandomNumberGenerator.GetBytes(8));
        return signed.CopyWithPrivateKey(pair);
    }

    private static X509Certificate2 NewAuthority()
    {
        using var pair = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=authority", pair, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        DateTimeOffset now = TimeProvider.System.GetUtcNow();
        return request.CreateSelfSigned(now.AddHours(-2), now.AddHours(2));
    }
}
