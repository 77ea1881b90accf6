using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class TlsReloadTests
{
    private const int Taken = 1230;
    private const int NotTaken = 1231;
    private const int ExpiresSoon = 1232;

    [Fact]
    public async Task CertificateAndKey_ReplacedOneAfterTheOther_AreTakenTogether()
    {
        await using var rig = new TlsRig();
        using RawDevice old = await rig.OpenAsync("d1");
        using X509Certificate2 newer = rig.Pki.Issue("newer");
        rig.Pki.Write("gateway.pem", newer);
        rig.Rig.Time.Advance(TimeSpan.FromSeconds(2));
        using (RawDevice meanwhile = await rig.OpenAsync("d2"))
            Assert.Equal("CN=gateway", meanwhile.GatewayCertificate!.Subject);
        Assert.DoesNotContain(rig.Rig.Log, line => line.Id.Id == NotTaken);

        rig.Pki.WriteKey("gateway.key", newer);
        rig.Rig.Time.Advance(TimeSpan.FromSeconds(2));
        using RawDevice young = await rig.OpenAsync("d3");
        Assert.Equal("CN=newer", young.GatewayCertificate!.Subject);
        await old.PingAsync();
        Assert.Equal(2, rig.Rig.Log.Count(line => line.Id.Id == Taken));
    }

    [Fact]
    public async Task CertificateAlone_ThatStaysWrong_IsToldOnceAndTheOldPairHolds()
    {
        await using var rig = new TlsRig();
        using X509Certificate2 newer = rig.Pki.Issue("newer");
        rig.Pki.Write("gateway.pem", newer);
        for (int i = 0; i < 60; i++)
            rig.Rig.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Contains("does not belong", Assert.Single(rig.Rig.Log, line => line.Id.Id == NotTaken).Text, StringComparison.Ordinal);
        using RawDevice device = await rig.OpenAsync("d1");
        Assert.Equal("CN=gateway", device.GatewayCertificate!.Subject);
    }

    [Fact]
    public async Task Link_ThatIsMoved_IsSeen()
    {
        await using var rig = new TlsRig(listener: o => (o.Tls!.Certificate, o.Tls.Key) = Linked(o.Tls.Certificate!, o.Tls.Key!));
        string folder = Path.GetDirectoryName(rig.Pki.PathOf("x"))!;
        using X509Certificate2 newer = rig.Pki.Issue("newer");
        string next = Directory.CreateDirectory(Path.Combine(folder, "2")).FullName;
        File.WriteAllText(Path.Combine(next, "tls.crt"), newer.ExportCertificatePem());
        File.WriteAllText(Path.Combine(next, "tls.key"), newer.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        Directory.Delete(Path.Combine(folder, "data"));
        Directory.CreateSymbolicLink(Path.Combine(folder, "data"), next);
        rig.Rig.Time.Advance(TimeSpan.FromSeconds(2));
        using RawDevice device = await rig.OpenAsync("d1");
        Assert.Equal("CN=newer", device.GatewayCertificate!.Subject);
    }

    [Fact]
    public async Task Crl_ThatRevokes_EndsTheLiveSessionAndNoOther()
    {
        await using var rig = new TlsRig(crls: pki => [pki.Crl(pki.Root, [])]);
        using X509Certificate2 lost = rig.Pki.Issue("d1");
        using RawDevice device = await rig.OpenAsync("d1", lost);
        using RawDevice other = await rig.OpenAsync("d2");
        rig.Pki.WriteCrls("crl.pem", rig.Pki.Crl(rig.Pki.Root, [lost]));
        rig.Rig.Time.Advance(TimeSpan.FromSeconds(2));
        await rig.Rig.PassUntilAsync(device.ExpectByeAsync(ByeReason.Normal));
        await other.PingAsync();
        Assert.Contains("revoked", await rig.FailAsync(lost), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Crl_ThatRevokesTheIntermediate_EndsItsSessions()
    {
        await using var rig = new TlsRig(crls: pki => [pki.Crl(pki.Root, [])]);
        using RawDevice device = await rig.OpenAsync("d1", rig.Pki.Issue("d1", rig.Pki.Intermediate));
        rig.Pki.WriteCrls("crl.pem", rig.Pki.Crl(rig.Pki.Root, [rig.Pki.Intermediate]));
        rig.Rig.Time.Advance(TimeSpan.FromSeconds(2));
        await rig.Rig.PassUntilAsync(device.ExpectByeAsync(ByeReason.Normal));
    }

    [Fact]
    public async Task Crl_Damaged_LeavesTheOldOneInForce()
    {
        X509Certificate2? lost = null;
        await using var rig = new TlsRig(crls: pki => [pki.Crl(pki.Root, [lost = pki.Issue("d1")])]);
        byte[] forged = rig.Pki.Crl(rig.Pki.Root, []);
        forged[^1] ^= 1;
        rig.Pki.WriteCrls("crl.pem", forged);
        for (int i = 0; i < 15; i++)
            rig.Rig.Time.Advance(TimeSpan.FromSeconds(1));
        Assert.Contains("has not signed", Assert.Single(rig.Rig.Log, line => line.Id.Id == NotTaken).Text, StringComparison.Ordinal);
        Assert.Contains("revoked", await rig.FailAsync(lost), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Authority_ThatIsGone_TakesItsSessionsWithIt()
    {
        await using var rig = new TlsRig();
        byte[] key = rig.Rig.MakeKey("d2");
        using RawDevice device = await rig.OpenAsync("d1");
        using RawDevice byKey = await rig.ConnectAsync();
        await byKey.OpenHmacAsync("d2", key);
        using var other = new DevicePki(TlsRig.Now);
        rig.Pki.Write("ca.pem", other.Root);
        rig.Rig.Time.Advance(TimeSpan.FromSeconds(2));
        await rig.Rig.PassUntilAsync(device.ExpectByeAsync(ByeReason.Normal));
        await byKey.PingAsync();
        using RawDevice ofOther = await rig.OpenAsync("d3", other.Issue("d3"));
    }

    [Fact]
    public async Task Reload_OnDemand_TakesOtherPathsAtOnce()
    {
        await using var rig = new TlsRig();
        using RawDevice old = await rig.OpenAsync("d1");
        using X509Certificate2 newer = rig.Pki.Issue("newer");
        rig.Rig.Options.Tls!.Certificate = rig.Pki.Write("2.pem", newer);
        rig.Rig.Options.Tls.Key = rig.Pki.WriteKey("2.key", newer);
        rig.Rig.Ingest.Change([rig.Rig.Options]);
        using RawDevice young = await rig.OpenAsync("d2");
        Assert.Equal("CN=newer", young.GatewayCertificate!.Subject);
        await old.PingAsync();
    }

    [Fact]
    public async Task Certificate_ThatEndsSoon_IsToldOnceADay()
    {
        await using var rig = new TlsRig();
        using X509Certificate2 brief = rig.Pki.Issue("brief", until: TimeSpan.FromHours((14 * 24) + 1));
        rig.Pki.Write("gateway.pem", brief);
        rig.Pki.WriteKey("gateway.key", brief);
        rig.Rig.Time.Advance(TimeSpan.FromSeconds(2));
        Assert.DoesNotContain(rig.Rig.Log, line => line.Id.Id == ExpiresSoon);
        for (int hour = 0; hour < 30; hour++)
            rig.Rig.Time.Advance(TimeSpan.FromHours(1));
        Assert.Equal(2, rig.Rig.Log.Count(line => line.Id.Id == ExpiresSoon));
    }

    // Before the rig exists: the files lie behind a link to a folder, as Kubernetes mounts them.
    private static (string Certificate, string Key) Linked(string certificate, string key)
    {
        string folder = Path.GetDirectoryName(certificate)!;
        string first = Directory.CreateDirectory(Path.Combine(folder, "1")).FullName;
        File.Copy(certificate, Path.Combine(first, "tls.crt"));
        File.Copy(key, Path.Combine(first, "tls.key"));
        Directory.CreateSymbolicLink(Path.Combine(folder, "data"), first);
        foreach (string name in (string[])["tls.crt", "tls.key"])
            File.CreateSymbolicLink(Path.Combine(folder, name), Path.Combine("data", name));
        return (Path.Combine(folder, "tls.crt"), Path.Combine(folder, "tls.key"));
    }
}
