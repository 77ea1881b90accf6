using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.Ingest;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class TlsSessionTests
{
    [Fact]
    public async Task Silent_Connection_IsClosedWithoutAWordAndWithoutBlame()
    {
        await using var rig = new TlsRig(listener: o => o.BadFramesPerMinute = 1);
        for (int i = 0; i < 4; i++)
        {
            using RawDevice device = await rig.Rig.ConnectAsync();
            await rig.Rig.PassUntilAsync(device.ExpectEndAsync());
        }

        Assert.Equal(4, rig.Rig.Count("iotgw_connections_closed_total{reason=handshake-timeout}"));
        Assert.Equal(0, rig.Rig.Count("iotgw_tls_handshakes_total{result=failed}"));
    }

    [Fact]
    public async Task Slow_Handshake_EndsInTimeWithoutAWord()
    {
        await using var rig = new TlsRig();
        using RawDevice device = await rig.Rig.ConnectAsync();
        Task end = device.ReadAsync();
        // A record header that promises 512 bytes, and then a byte a second.
        await device.SendAsync((byte[])[22, 3, 1, 2, 0]);
        for (int second = 0; second < 9; second++)
        {
            await device.SendAsync((byte[])[1]);
            await PassAsync(rig, TimeSpan.FromSeconds(1));
        }

        Assert.False(end.IsCompleted);
        await rig.Rig.PassUntilAsync(end, TimeSpan.FromSeconds(4));
        await IngestRig.UntilAsync(() => rig.Rig.Count("iotgw_tls_handshakes_total{result=failed}") == 1);
        Assert.Equal(1, rig.Rig.Count("iotgw_connections_closed_total{reason=handshake-timeout}"));
    }

    [Fact]
    public async Task NotTls_IsBlamedOnItsAddressAndThenNotLetIn()
    {
        await using var rig = new TlsRig(listener: o => o.BadFramesPerMinute = 2);
        for (int i = 0; i < 3; i++)
        {
            rig.Rig.Time.Advance(TimeSpan.FromMilliseconds(1));
            using RawDevice device = await rig.Rig.ConnectAsync();
            await device.SendAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray());
            await rig.Rig.PassUntilAsync(IngestRig.UntilAsync(() => rig.Rig.Ingest.Connections == 0));
        }

        Assert.Equal(3, rig.Rig.Count("iotgw_tls_handshakes_total{result=failed}"));
        Assert.Contains(rig.Rig.Log, line => line.Id.Id == 1235 && line.Text.Contains("does not speak TLS", StringComparison.Ordinal));
        using RawDevice refused = await rig.Rig.ConnectAsync();
        await refused.ExpectEndAsync();
        Assert.Equal(1, rig.Rig.Count("iotgw_connections_refused_total{reason=rate-limited}"));
        Assert.Equal(3, rig.Rig.Count("iotgw_tls_handshakes_total{result=failed}"));
    }

    [Fact]
    public async Task RefusedAtAccept_IsClosedSilently()
    {
        await using var rig = new TlsRig(listener: o => o.AllowFrom = ["10.0.0.0/8"]);
        using RawDevice device = await rig.Rig.ConnectAsync();
        await device.ExpectEndAsync();
        Assert.Equal(1, rig.Rig.Count("iotgw_connections_refused_total{reason=address-not-allowed}"));
    }

    [Fact]
    public async Task Probe_ThatConnectsAndCloses_IsNotBlamed()
    {
        await using var rig = new TlsRig(listener: o => o.BadFramesPerMinute = 1);
        for (int i = 0; i < 5; i++)
        {
            using (await rig.Rig.ConnectAsync())
            {
            }

            await rig.Rig.PassUntilAsync(IngestRig.UntilAsync(() => rig.Rig.Ingest.Connections == 0));
        }

        using RawDevice device = await rig.OpenAsync("d1");
        Assert.Equal(0, rig.Rig.Count("iotgw_tls_handshakes_total{result=failed}"));
    }

    [Fact]
    public async Task Idle_Session_IsToldByeAndEndsInOrder()
    {
        await using var rig = new TlsRig();
        using RawDevice device = await rig.OpenAsync("d1");
        await rig.Rig.PassUntilAsync(device.ExpectByeAsync(ByeReason.Idle));
    }

    [Fact]
    public async Task Shutdown_WithFramesUnderWay_AcknowledgesAndSaysBye()
    {
        await using var rig = new TlsRig();
        using RawDevice device = await rig.OpenAsync("d1");
        await device.SendDataAsync(1);
        TakenRecord[] taken = await rig.Rig.TakeAsync(1);
        rig.Rig.Ingest.StopReading();
        rig.Rig.Confirm(taken);
        Task finished = rig.Rig.FinishAsync();
        await device.ExpectAckAsync(1);
        await device.ExpectByeAsync(ByeReason.ShuttingDown);
        device.Dispose();
        await finished;
    }

    [Fact]
    public async Task Duplex_ManyFramesWithAcksMeanwhile_AllAreAcknowledged()
    {
        const uint frames = 3_000;
        await using var rig = new TlsRig(listener: o => (o.FramesPerSecond, o.MaxWindow) = (1_000_000, 4096));
        using RawDevice device = await rig.OpenAsync("d1");
        Task sender = Task.Run(async () =>
        {
            for (uint i = 1; i <= frames; i++)
                await device.SendDataAsync(i);
        });
        Task forwarder = Task.Run(async () =>
        {
            for (uint i = 1; i <= frames; i++)
                rig.Rig.Confirm(await rig.Rig.TakeAsync(1));
        });
        await device.ExpectAckAsync(frames);
        await Task.WhenAll(sender, forwarder);
        Assert.Equal(frames, rig.Rig.Ingest.Metrics.FramesReceived);
    }

    [Fact]
    public async Task NotReading_Device_IsCutOffAfterTheSendTimeout()
    {
        await using var rig = new TlsRig(listener: o => (o.IdleTimeout, o.FramesPerSecond) = (TimeSpan.FromHours(1), 1_000_000));
        using RawDevice device = await rig.OpenAsync("d1");
        // PINGs whose PONGs nobody reads, until both directions are full.
        var flood = Task.Run(async () =>
        {
            try
            {
                while (true)
                    await device.SendAsync(FrameType.Ping, 1, new byte[32]);
            }
            catch (Exception e) when (e is IOException or TimeoutException or ObjectDisposedException)
            {
                // Cut off, as it should be.
            }
        });
        await rig.Rig.PassUntilAsync(
            IngestRig.UntilAsync(() => rig.Rig.Count("iotgw_connections_closed_total{reason=not-reading}") == 1), TimeSpan.FromHours(1));
        await rig.Rig.PassUntilAsync(flood);
    }

    [Fact]
    public async Task Takeover_FromTlsToPlainAndBack_TellsTheOlderOne()
    {
        using var pki = new DevicePki(TlsRig.Now);
        X509Certificate2 own = pki.Issue("gateway");
        var secure = new ListenerOptions
        {
            Name = "secure",
            Endpoint = "127.0.0.1:0",
            Authentication = ["certificate"],
            Tls = new IotTcpGateway.Tls.ListenerTlsOptions
            {
                Certificate = pki.Write("g.pem", own),
                Key = pki.WriteKey("g.key", own),
                ClientCa = pki.Write("ca.pem", pki.Root),
                HandshakesPerSecond = 10_000,
            },
        };
        await using var rig = new IngestRig(
            listeners: [new ListenerOptions { Endpoint = "127.0.0.1:0", Authentication = ["hmac", "none"] }, secure]);
        byte[] key = rig.MakeKey("d1");
        using RawDevice first = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key);
        using RawDevice second = await TlsRig.ThroughAsync(
            rig, RawDevice.ConnectTlsAsync(rig.Ingest.Endpoints[1].Endpoint, pki.Issue("d1")));
        await second.OpenAsync("d1", AuthenticationMode.Certificate);
        await rig.PassUntilAsync(first.ExpectByeAsync(ByeReason.Superseded));
        using RawDevice third = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key);
        await rig.PassUntilAsync(second.ExpectByeAsync(ByeReason.Superseded));

        // Who has nothing to show displaces nobody who has, on whatever listener.
        rig.Known.Clear();
        using RawDevice fourth = await TlsRig.ThroughAsync(
            rig, RawDevice.ConnectTlsAsync(rig.Ingest.Endpoints[1].Endpoint, pki.Issue("d2")));
        await fourth.OpenAsync("d2", AuthenticationMode.Certificate);
        using RawDevice none = await rig.ConnectAsync();
        await none.SendHelloAsync("d2");
        await rig.PassUntilAsync(none.ExpectRefuseAsync(RefuseReason.AuthenticationFailed));
    }

    [Fact]
    public async Task KnownChanged_SessionByCertificate_GoesOnUntilItIsRevoked()
    {
        await using var rig = new TlsRig();
        using RawDevice device = await rig.OpenAsync("d1");
        rig.Rig.MakeKey("d1");
        rig.Rig.Ingest.KnownChanged(new HashSet<string> { "d1" });
        await device.PingAsync();
        using RawDevice again = await rig.OpenAsync("d1", boot: 2);
        await again.PingAsync();
        rig.Rig.Known["d1"] = rig.Rig.Known["d1"] with { Key = null, Revoked = rig.Rig.Time.GetUtcNow() };
        rig.Rig.Ingest.KnownChanged(new HashSet<string> { "d1" });
        await again.ExpectByeAsync(ByeReason.Normal);
    }

    private static async Task PassAsync(TlsRig rig, TimeSpan time)
    {
        for (TimeSpan passed = default; passed < time; passed += TimeSpan.FromMilliseconds(250))
        {
            rig.Rig.Time.Advance(TimeSpan.FromMilliseconds(250));
            await Task.Yield();
        }
    }
}
