using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.Forward;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>mqtts: whom the gateway trusts, and how it shows itself.</summary>
public sealed class TlsTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("iotgw-tls-").FullName;
    private readonly Authority authority = new("CN=right");

    [Fact]
    public async Task Connect_BrokerOfTheOwnCa_IsTrusted()
    {
        await using var broker = new ScriptedBroker(Server("localhost"));
        await using var rig = new Rig(Options(broker, authority), broker);
        ScriptedLink link = await rig.StartAsync(broker);
        rig.Add("pump-7");
        await link.PubAckAsync(await link.NextAsync());
        await Eventually.IsTrueAsync(() => rig.Buffer.Records == 0);
        Assert.Null(link.ClientCertificateSubject);
    }

    [Fact]
    public async Task Connect_BrokerByAddress_IsTrustedByTheAddressInItsCertificate()
    {
        await using var broker = new ScriptedBroker(Server("broker.example", IPAddress.Loopback));
        MqttOptions options = Options(broker, authority);
        options.Brokers = [$"mqtts://127.0.0.1:{broker.Port}"];
        await using var rig = new Rig(options, broker);
        await rig.StartAsync(broker);
    }

    [Fact]
    public async Task Connect_BrokerOfAForeignCa_IsRefused()
    {
        using var foreign = new Authority("CN=foreign");
        await using var broker = new ScriptedBroker(Server("localhost"));
        await using var rig = new Rig(Options(broker, foreign), broker);
        rig.Start();
        await Eventually.IsTrueAsync(() => rig.Log.Count(ForwardEvents.Unreachable) == 1);
        Assert.Contains("PartialChain", rig.Forwarder.Status.LastFailure, StringComparison.Ordinal);
        Assert.False(rig.Forwarder.Status.IsConnected);
    }

    [Fact]
    public async Task Connect_BrokerOfAnotherName_IsRefused()
    {
        await using var broker = new ScriptedBroker(Server("other.example"));
        await using var rig = new Rig(Options(broker, authority), broker);
        rig.Start();
        await Eventually.IsTrueAsync(() => rig.Log.Count(ForwardEvents.Unreachable) == 1);
        Assert.Contains("RemoteCertificateNameMismatch", rig.Forwarder.Status.LastFailure, StringComparison.Ordinal);
        Assert.False(rig.Forwarder.Status.IsConnected);
    }

    [Fact]
    public async Task Connect_WithAnOwnCertificate_ShowsIt()
    {
        SslServerAuthenticationOptions server = Server("localhost");
        server.ClientCertificateRequired = true;
        server.RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null;
        await using var broker = new ScriptedBroker(server);
        MqttOptions options = Options(broker, authority);
        using X509Certificate2 own = authority.Issue("CN=gateway", null, null);
        options.Tls.Certificate = Write("own.pem", own.ExportCertificatePem() + "\n" + authority.Pem);
        options.Tls.Key = Write("own.key", own.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        await using var rig = new Rig(options, broker);
        ScriptedLink link = await rig.StartAsync(broker);
        Assert.Equal("CN=gateway", link.ClientCertificateSubject);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("nothing of use")]
    public async Task Connect_CaFileUnusable_SaysSoAndTriesOn(string? content)
    {
        await using var broker = new ScriptedBroker(Server("localhost"));
        MqttOptions options = Options(broker, authority);
        string file = Path.Combine(directory, "late.pem");
        if (content is not null)
            await File.WriteAllTextAsync(file, content);
        options.Tls.Ca = file;
        await using var rig = new Rig(options, broker);
        rig.Start();
        await Eventually.IsTrueAsync(() => rig.Log.Count(ForwardEvents.Unreachable) == 1);
        Assert.StartsWith($"mqtt.tls.ca {file}: ", rig.Forwarder.Status.LastFailure, StringComparison.Ordinal);

        await File.WriteAllTextAsync(file, authority.Pem);
        await rig.AcceptAsync(broker);
    }

    public void Dispose()
    {
        authority.Dispose();
        Directory.Delete(directory, recursive: true);
    }

    private SslServerAuthenticationOptions Server(string name, IPAddress? address = null) =>
        new() { ServerCertificate = authority.Issue("CN=broker", name, address) };

    private MqttOptions Options(ScriptedBroker broker, Authority trusted) => new()
    {
        Brokers = [broker.Uri],
        Tls = new MqttTlsOptions { Ca = Write("ca.pem", trusted.Pem) },
    };

    private string Write(string name, string content)
    {
        string file = Path.Combine(directory, name);
        File.WriteAllText(file, content);
        return file;
    }

    private sealed class Authority : IDisposable
    {
        private static readonly DateTimeOffset Begin = TimeProvider.System.GetUtcNow().AddDays(-1);
        private readonly X509Certificate2 root;

        public Authority(string name)
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
            root = request.CreateSelfSigned(Begin, Begin.AddDays(30));
        }

        public string Pem => root.ExportCertificatePem();

        public X509Certificate2 Issue(string subject, string? name, IPAddress? address)
        {
            using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
            var names = new SubjectAlternativeNameBuilder();
            if (name is not null)
                names.AddDnsName(name);
            if (address is not null)
                names.AddIpAddress(address);
            if (name is not null)
                request.CertificateExtensions.Add(names.Build());
            using X509Certificate2 issued = request.Create(root, Begin, Begin.AddDays(20), RandomNumberGenerator.GetBytes(8));
            using X509Certificate2 withKey = issued.CopyWithPrivateKey(key);
            return X509CertificateLoader.LoadPkcs12(
                withKey.Export(X509ContentType.Pkcs12), null, X509KeyStorageFlags.Exportable);
        }

        public void Dispose() => root.Dispose();
    }
}
