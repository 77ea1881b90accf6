using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class TlsHandshakeTests
{
    private const string ServerPurpose = "1.3.6.1.5.5.7.3.1";
    private const string ClientPurpose = "1.3.6.1.5.5.7.3.2";

    [Theory]
    [InlineData(SslProtocols.Tls12, false)]
    [InlineData(SslProtocols.Tls13, false)]
    [InlineData(SslProtocols.Tls12, true)]
    [InlineData(SslProtocols.Tls13, true)]
    public async Task Certificate_GoodOne_IsWelcomedAndAcknowledged(SslProtocols version, bool isRsa)
    {
        await using var rig = new TlsRig(["certificate"], isRsa: isRsa);
        using RawDevice device = await rig.ConnectAsync(rig.Pki.Issue("d1", isRsa: isRsa), version);
        await device.OpenAsync("d1", AuthenticationMode.Certificate);
        Assert.Equal(version, device.TlsVersion);
        await device.SendDataAsync(1);
        rig.Rig.Confirm(await rig.Rig.TakeAsync(1));
        await device.ExpectAckAsync(1);
        Assert.Equal(1, rig.Rig.Count("iotgw_tls_handshakes_total{result=ok}"));
    }

    [Fact]
    public async Task Certificate_ProofAndTags_AreNotGiven()
    {
        await using var rig = new TlsRig();
        using RawDevice device = await rig.ConnectAsync(rig.Pki.Issue("d1"));
        await device.SendHelloAsync("d1", mode: AuthenticationMode.Certificate, features: Features.TaggedFrames);
        ReceivedFrame welcome = await device.ExpectAsync(FrameType.Welcome);
        Assert.True(Welcome.TryRead(welcome.Body, out Welcome read));
        Assert.Equal(Features.None, read.FeaturesGranted);
        Assert.All(welcome.Body[Welcome.BytesBeforeProof..], b => Assert.Equal(0, b));
    }

    [Fact]
    public async Task Certificate_DnsName_SpeaksForTheDevice()
    {
        await using var rig = new TlsRig();
        using RawDevice device = await rig.OpenAsync("pump-7", rig.Pki.Issue("Pump Seven", dns: ["other", "pump-7"]));
        await device.PingAsync();
    }

    [Fact]
    public async Task Certificate_OfIntermediate_IsGoodWithoutBeingSent()
    {
        await using var rig = new TlsRig();
        using RawDevice device = await rig.OpenAsync("d1", rig.Pki.Issue("d1", rig.Pki.Intermediate));
        await device.PingAsync();
    }

    [Fact]
    public async Task Certificate_OfUnlistedIntermediate_IsGoodWhenItIsSent()
    {
        await using var rig = new TlsRig();
        X509Certificate2 below = rig.Pki.Authority("below", rig.Pki.Intermediate);
        using RawDevice device = await rig.ConnectAsync(rig.Pki.Issue("d1", below), intermediates: [below]);
        await device.OpenAsync("d1", AuthenticationMode.Certificate);
        Assert.Contains("authority that is not in clientCa", await rig.FailAsync(rig.Pki.Issue("d2", below)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("d2")]
    [InlineData("D1")]
    [InlineData("d1.local")]
    public async Task Hello_ForeignId_IsRefused(string id)
    {
        await using var rig = new TlsRig();
        using RawDevice device = await rig.ConnectAsync(rig.Pki.Issue("d1"));
        await device.SendHelloAsync(id, mode: AuthenticationMode.Certificate);
        await rig.Rig.PassUntilAsync(device.ExpectRefuseAsync(RefuseReason.AuthenticationFailed));
        Assert.Equal(1, rig.Rig.Ingest.Metrics.AuthenticationFailures);
    }

    [Fact]
    public async Task Hello_CertificateModeWithoutOne_IsRefused()
    {
        await using var rig = new TlsRig();
        using RawDevice device = await rig.ConnectAsync();
        await device.SendHelloAsync("d1", mode: AuthenticationMode.Certificate);
        await rig.Rig.PassUntilAsync(device.ExpectRefuseAsync(RefuseReason.AuthenticationFailed));
    }

    [Fact]
    public async Task Hello_CertificateModeOnPlainListener_IsRefused()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.ConnectAsync();
        await device.SendHelloAsync("d1", mode: AuthenticationMode.Certificate);
        await rig.PassUntilAsync(device.ExpectRefuseAsync(RefuseReason.AuthenticationModeNotAccepted));
    }

    [Fact]
    public async Task Hmac_OverTls_WorksWithTags()
    {
        await using var rig = new TlsRig();
        byte[] key = rig.Rig.MakeKey("d1");
        using RawDevice device = await rig.ConnectAsync();
        await device.OpenHmacAsync("d1", key, tags: true);
        Assert.True(device.Welcome!.Tags);
        await device.SendDataAsync(1);
        rig.Rig.Confirm(await rig.Rig.TakeAsync(1));
        await device.ExpectAckAsync(1);
    }

    [Fact]
    public async Task Certificate_Optional_NoneIsAsked_WhenThereIsNoAuthority()
    {
        await using var rig = new TlsRig(["hmac"], o => o.Tls!.ClientCa = null);
        byte[] key = rig.Rig.MakeKey("d1");
        using RawDevice device = await rig.ConnectAsync(rig.Pki.Issue("d1"));
        await device.OpenHmacAsync("d1", key);
        await device.PingAsync();
    }

    [Theory]
    [InlineData(SslProtocols.Tls12)]
    [InlineData(SslProtocols.Tls13)]
    public async Task Certificate_NeededAndNone_FailsTheHandshake(SslProtocols version)
    {
        await using var rig = new TlsRig(["certificate"]);
        Assert.Contains("shows no certificate", await rig.FailAsync(null, version), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(SslProtocols.Tls12)]
    [InlineData(SslProtocols.Tls13)]
    public async Task Certificate_OfForeignAuthority_FailsTheHandshake(SslProtocols version)
    {
        await using var rig = new TlsRig();
        using var foreign = new DevicePki(TlsRig.Now);
        Assert.Contains("not in clientCa", await rig.FailAsync(foreign.Issue("d1"), version), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Certificate_ForServersAlone_FailsTheHandshake()
    {
        await using var rig = new TlsRig();
        Assert.Contains("clientAuth", await rig.FailAsync(rig.Pki.Issue("d1", purpose: ServerPurpose)), StringComparison.Ordinal);
        using RawDevice device = await rig.OpenAsync("d1", rig.Pki.Issue("d1", purpose: ClientPurpose));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Certificate_Expired_FailsTheHandshakeWhateverTheClock(bool isSynchronised)
    {
        await using var rig = new TlsRig();
        rig.Rig.IsSynchronised = isSynchronised;
        string why = await rig.FailAsync(rig.Pki.Issue("d1", until: TimeSpan.FromMinutes(-1)));
        Assert.Contains("has expired", why, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Certificate_NotYetValid_FailsWithATrustedClockAlone()
    {
        await using var rig = new TlsRig();
        X509Certificate2 young = rig.Pki.Issue("d1", from: TimeSpan.FromDays(1));
        rig.Rig.IsSynchronised = false;
        using (RawDevice device = await rig.OpenAsync("d1", young))
            await device.PingAsync();
        rig.Rig.IsSynchronised = true;
        rig.Rig.Time.Advance(TimeSpan.FromSeconds(2));
        await rig.Rig.PassUntilAsync(IngestRig.UntilAsync(() => rig.Rig.Ingest.Connections == 0));
        Assert.Contains("not valid yet", await rig.FailAsync(young), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Certificate_Revoked_FailsTheHandshake()
    {
        X509Certificate2? revoked = null;
        await using var rig = new TlsRig(crls: pki => [pki.Crl(pki.Root, [revoked = pki.Issue("d1")])]);
        Assert.Contains("revoked", await rig.FailAsync(revoked), StringComparison.Ordinal);
        using RawDevice other = await rig.OpenAsync("d1");
    }

    [Fact]
    public async Task Certificate_OfRevokedIntermediate_FailsTheHandshake()
    {
        await using var rig = new TlsRig(crls: pki => [pki.Crl(pki.Root, [pki.Intermediate])]);
        Assert.Contains("revoked", await rig.FailAsync(rig.Pki.Issue("d1", rig.Pki.Intermediate)), StringComparison.Ordinal);
        using RawDevice other = await rig.OpenAsync("d1");
    }

    [Fact]
    public async Task Certificate_RevokedByIntermediate_FailsTheHandshake()
    {
        X509Certificate2? revoked = null;
        await using var rig = new TlsRig(crls: pki =>
            [pki.Crl(pki.Root, []), pki.Crl(pki.Intermediate, [revoked = pki.Issue("d1", pki.Intermediate)])]);
        Assert.Contains("revoked", await rig.FailAsync(revoked), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Crl_PastItsNextUpdate_GoesOnRevokingAndIsToldOnce()
    {
        X509Certificate2? revoked = null;
        await using var rig = new TlsRig(
            crls: pki => [pki.Crl(pki.Root, [revoked = pki.Issue("d1")], nextUpdate: TimeSpan.FromDays(-1))]);
        rig.Rig.Time.Advance(TimeSpan.FromSeconds(5));
        Assert.Contains("revoked", await rig.FailAsync(revoked), StringComparison.Ordinal);
        using RawDevice other = await rig.OpenAsync("d2");
        Assert.Single(rig.Rig.Log, line => line.Id.Id == 1233);
    }

#pragma warning disable SYSLIB0039, CA5397 // TLS 1.1 is what this is about.
    [Fact]
    public async Task Version_Tls11_IsNotSpoken()
    {
        await using var rig = new TlsRig(["hmac"]);
        await Assert.ThrowsAnyAsync<Exception>(() => rig.ConnectAsync(protocols: SslProtocols.Tls11));
        await rig.Rig.PassUntilAsync(IngestRig.UntilAsync(() => rig.Rig.Ingest.Connections == 0));
        Assert.Equal(0, rig.Rig.Count("iotgw_tls_handshakes_total{result=ok}"));
    }
#pragma warning restore SYSLIB0039, CA5397

    // ClientHello of TLS 1.1 by hand: a client library of today does not send one.
    [Fact]
    public async Task Version_ClientHelloOfTls11_IsAnsweredByAnAlert()
    {
        await using var rig = new TlsRig(["hmac"]);
        using RawDevice device = await rig.Rig.ConnectAsync();
        byte[] body = [3, 2, .. new byte[32], 0, 0, 4, 0xC0, 0x13, 0x00, 0x2F, 1, 0];
        await device.SendAsync((byte[])[22, 3, 1, 0, (byte)(body.Length + 4), 1, 0, 0, (byte)body.Length, .. body]);
        await IngestRig.UntilAsync(() => rig.Rig.Count("iotgw_tls_handshakes_total{result=failed}") == 1);
        Assert.Contains("TLS 1.1", Assert.Single(rig.Rig.Log, line => line.Id.Id == 1235).Text, StringComparison.Ordinal);
    }
}
