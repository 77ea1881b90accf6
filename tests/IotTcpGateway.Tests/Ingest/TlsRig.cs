using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.Ingest;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;
using IotTcpGateway.Tls;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

/// <summary>The ingest with one TLS listener, its files and authorities.</summary>
internal sealed class TlsRig : IAsyncDisposable
{
    public static readonly DateTimeOffset Now = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    public TlsRig(
        string[]? authentication = null, Action<ListenerOptions>? listener = null, Func<DevicePki, byte[][]>? crls = null,
        bool isRsa = false)
    {
        Pki = new DevicePki(Now, isRsa);
        Own = Pki.Issue("gateway", dns: ["localhost"], isRsa: isRsa);
        Pki.Write("ca.pem", Pki.Root, Pki.Intermediate);
        Pki.Write("gateway.pem", Own);
        Pki.WriteKey("gateway.key", Own);
        if (crls is not null)
            Pki.WriteCrls("crl.pem", crls(Pki));
        Rig = new IngestRig(options =>
        {
            options.Authentication = [.. authentication ?? ["certificate", "hmac"]];
            options.Tls = new ListenerTlsOptions
            {
                Certificate = Pki.PathOf("gateway.pem"),
                Key = Pki.PathOf("gateway.key"),
                ClientCa = Pki.PathOf("ca.pem"),
                Crl = crls is null ? null : Pki.PathOf("crl.pem"),
                HandshakesPerSecond = 10_000,
            };
            listener?.Invoke(options);
        });
    }

    public DevicePki Pki { get; }

    /// <summary>The gateway's certificate at the start.</summary>
    public X509Certificate2 Own { get; }

    public IngestRig Rig { get; }

    public Task<RawDevice> ConnectAsync(
        X509Certificate2? certificate = null, SslProtocols protocols = SslProtocols.None,
        X509Certificate2Collection? intermediates = null) =>
        ThroughAsync(Rig, RawDevice.ConnectTlsAsync(Rig.Endpoint, certificate, protocols, intermediates));

    /// <summary>Lets so little time pass as the pace of handshakes needs.</summary>
    public static async Task<RawDevice> ThroughAsync(IngestRig rig, Task<RawDevice> connecting)
    {
        while (!connecting.IsCompleted)
        {
            rig.Time.Advance(TimeSpan.FromMilliseconds(1));
            await Task.WhenAny(connecting, Task.Delay(2));
        }

        return await connecting;
    }

    /// <summary>Connects with a certificate and comes to WELCOME by it.</summary>
    public async Task<RawDevice> OpenAsync(string id, X509Certificate2? certificate = null, uint boot = 1)
    {
        RawDevice device = await ConnectAsync(certificate ?? Pki.Issue(id));
        await device.OpenAsync(id, AuthenticationMode.Certificate, boot);
        return device;
    }

    /// <summary>The handshake has to fail, and nobody has to be told anything by a frame; returns what the log says.</summary>
    public async Task<string> FailAsync(
        X509Certificate2? certificate, SslProtocols protocols = SslProtocols.None)
    {
        long others = Rig.Ingest.Connections;
        long before = Rig.Count("iotgw_tls_handshakes_total{result=failed}");
        try
        {
            using RawDevice device = await ConnectAsync(certificate, protocols);
            // With TLS 1.3 the device is done before the gateway has looked at its certificate.
            Task<ReceivedFrame?> frame = device.ReadAsync();
            await Rig.PassUntilAsync(frame);
            Assert.Null(await frame);
        }
        catch (Exception e) when (e is AuthenticationException or IOException)
        {
            // As it should be.
        }

        await IngestRig.UntilAsync(() => Rig.Count("iotgw_tls_handshakes_total{result=failed}") > before);
        await Rig.PassUntilAsync(IngestRig.UntilAsync(() => Rig.Ingest.Connections <= others));
        return Assert.Single(Rig.Log, line => line.Id.Id == 1235).Text;
    }

    public async ValueTask DisposeAsync()
    {
        await Rig.DisposeAsync();
        Own.Dispose();
        Pki.Dispose();
    }
}
