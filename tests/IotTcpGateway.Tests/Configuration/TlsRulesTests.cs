using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.Configuration;
using IotTcpGateway.Ingest;
using IotTcpGateway.TestKit;
using IotTcpGateway.Tls;

using Xunit;

namespace IotTcpGateway.Tests.Configuration;

public sealed class TlsRulesTests : IDisposable
{
    private const long Machine = 16L << 30;

    private readonly DevicePki pki = new(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));
    private readonly ListenerOptions listener;

    public TlsRulesTests()
    {
        X509Certificate2 own = pki.Issue("gateway");
        listener = new ListenerOptions
        {
            Authentication = ["certificate"],
            Tls = new ListenerTlsOptions
            {
                Certificate = pki.Write("g.pem", own),
                Key = pki.WriteKey("g.key", own),
                ClientCa = pki.Write("ca.pem", pki.Root, pki.Intermediate),
                Crl = pki.WriteCrls("crl.pem", pki.Crl(pki.Root, []), pki.Crl(pki.Intermediate, [])),
            },
        };
    }

    private ListenerTlsOptions Tls => listener.Tls!;

    public void Dispose() => pki.Dispose();

    [Fact]
    public void Check_FilesThatFit_IsRight()
    {
        Assert.Empty(Faults());
        File.WriteAllBytes(pki.PathOf("crl.der"), pki.Crl(pki.Root, []));
        Tls.Crl = pki.PathOf("crl.der");
        Assert.Empty(Faults());
    }

    [Fact]
    public void Check_CertificateModeWithoutAuthority_IsAFault()
    {
        (Tls.ClientCa, Tls.Crl) = (null, null);
        AssertFault("listeners.0.authentication", "vouch");
        listener.Tls = null;
        AssertFault("listeners.0.authentication", "vouch");
    }

    [Fact]
    public void Check_HalfAPair_IsAFault()
    {
        Tls.Key = null;
        AssertFault("listeners.0.tls", "certificate and its key");
    }

    [Fact]
    public void Check_CrlWithoutAuthority_IsAFault()
    {
        (listener.Authentication, Tls.ClientCa) = (["hmac"], null);
        AssertFault("listeners.0.tls.crl", "nothing is revoked");
    }

    [Fact]
    public void Check_MissingFiles_NamesEach()
    {
        string missing = pki.PathOf("missing");
        foreach ((string key, Action set) in (ReadOnlySpan<(string, Action)>)
            [("crl", () => Tls.Crl = missing), ("clientCa", () => Tls.ClientCa = missing), ("key", () => Tls.Key = missing), ("certificate", () => Tls.Certificate = missing)])
        {
            set();
            AssertFault($"listeners.0.tls.{key}", "does not exist");
        }
    }

    [Fact]
    public void Check_KeyOfAnother_IsAFault()
    {
        Tls.Key = pki.WriteKey("other.key", pki.Issue("other"));
        AssertFault("listeners.0.tls.key", "does not belong");
        Tls.Key = pki.Write("nokey.pem", pki.Root);
        AssertFault("listeners.0.tls.key", "no private key");
        Tls.Key = pki.WriteText("enc.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
        AssertFault("listeners.0.tls.key", "passphrase");
    }

    [Fact]
    public void Check_BadPem_IsAFault()
    {
        Tls.Certificate = pki.WriteText("bad.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        AssertFault("listeners.0.tls.certificate", "damaged");
        Tls.Certificate = pki.WriteText("empty.pem", "");
        AssertFault("listeners.0.tls.certificate", "no certificate");
        Tls.Certificate = pki.WriteText("large.pem", new string(' ', 300_000));
        AssertFault("listeners.0.tls.certificate", "larger");
    }

    [Fact]
    public void Check_AuthoritiesThatAreNone_IsAFault()
    {
        Tls.Crl = null;
        Tls.ClientCa = pki.Write("leaf.pem", pki.Root, pki.Issue("leaf"));
        AssertFault("listeners.0.tls.clientCa", "not an authority");
        Tls.ClientCa = pki.Write("half.pem", pki.Intermediate);
        AssertFault("listeners.0.tls.clientCa", "no root");
    }

    [Fact]
    public void Check_Crl_DamagedForeignOrTwice_IsAFault()
    {
        byte[] list = pki.Crl(pki.Root, []);
        Tls.Crl = pki.WriteCrls("damaged.pem", list[..^9]);
        AssertFault("listeners.0.tls.crl", "damaged");
        Tls.Crl = pki.WriteCrls("twice.pem", list, list);
        AssertFault("listeners.0.tls.crl", "two lists");
        using var foreign = new DevicePki(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));
        Tls.Crl = pki.WriteCrls("foreign.pem", foreign.Crl(foreign.Root, []));
        AssertFault("listeners.0.tls.crl", "has not signed");
        Tls.Crl = pki.WriteText("none.pem", "nothing");
        AssertFault("listeners.0.tls.crl", "no revocation list");
    }

    [Fact]
    public void Check_TlsConnections_CountWithTheirMemory()
    {
        const long small = 512L << 20;
        (listener.MaxConnections, listener.MaxUnauthenticated) = (1000, 64);
        var configuration = new GatewayConfiguration { Listeners = [listener] };
        Assert.Empty(CrossRules.Check(configuration, small));
        listener.MaxConnections = 2000;
        Assert.Equal("buffer.memory", Assert.Single(CrossRules.Check(configuration, small)).Path);
        (listener.Tls, listener.Authentication) = (null, ["hmac"]);
        Assert.Empty(CrossRules.Check(configuration, small));
    }

    [Fact]
    public void Warnings_PaceSlowerThanTheTimeout_IsNamed()
    {
        Assert.Null(TlsRules.Warning(listener));
        Tls.HandshakesPerSecond = 2;
        Assert.Contains("handshakeTimeout", TlsRules.Warning(listener), StringComparison.Ordinal);
    }

    private void AssertFault(string path, string part)
    {
        ConfigurationFault fault = Assert.Single(Faults());
        Assert.Equal(path, fault.Path);
        Assert.Contains(part, fault.ToString(), StringComparison.Ordinal);
    }

    private List<ConfigurationFault> Faults() =>
        [.. CrossRules.Check(new GatewayConfiguration { Listeners = [listener] }, Machine)];
}
