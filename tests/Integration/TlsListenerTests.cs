using System.Globalization;

using IotTcpGateway.Configuration;
using IotTcpGateway.DeviceClient;
using IotTcpGateway.Ingest;
using IotTcpGateway.TestKit;
using IotTcpGateway.Tls;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>The gateway's TLS listener against the client library and against OpenSSL's own client.</summary>
public sealed class TlsListenerTests : IDisposable
{
    private const int Frames = 200;

    private readonly TestAuthority authority = new("tls-listener");

    public void Dispose() => authority.Dispose();

    [Fact]
    public async Task Devices_ByCertificateAndByKeyOverTls_EveryFrameArrives()
    {
        await using var broker = new MqttNetBroker(RunningGateway.Id);
        await broker.StartAsync();
        await using RunningGateway gateway = RunningGateway.Start(["d2"], broker.Port, Secure);
        CertificateFiles own = authority.Issue("d1");
        await using var devices = new FieldDevices(
        [
            new FieldDevice(1, "d1", gateway.EndpointOf("secure"), null, false, tls: new DeviceTlsOptions
            {
                CaFile = authority.CaFile,
                CertificateFile = own.Certificate,
                KeyFile = own.Key,
                ServerName = "localhost",
            }),
            new FieldDevice(2, "d2", gateway.EndpointOf("secure"), gateway.Keys["d2"], true, tls: new DeviceTlsOptions
            {
                CaFile = authority.CaFile,
                ServerName = "localhost",
            }),
        ]);
        await devices.SendAsync(Frames);
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        await devices.ArriveExactlyAsync(broker.Deliveries);
    }

    [Theory]
    [InlineData("-tls1_2", "TLSv1.2", 0)]
    [InlineData("-tls1_3", "TLSv1.3", 0)]
    [InlineData("-tls1_1", "", 1)]
    [InlineData("-tls1_2 -cipher AES128-SHA", "", 1)]
    public async Task OpenSsl_Client_AgreesOnVersionAndName(string options, string version, int code)
    {
        await using RunningGateway gateway = RunningGateway.Start([], Loopback.FreePort(), Secure);
        string command = string.Create(
            CultureInfo.InvariantCulture,
            $"echo | openssl s_client -connect {gateway.EndpointOf("secure")} -CAfile {authority.CaFile} -verify_return_error "
            + $"-verify_hostname localhost -alpn h2 {options} 2>&1");
        await using ChildProcess client = ChildProcess.Start("sh", "-c", command);
        Assert.True(await client.ExitAsync() == code, client.Output);
        if (code != 0)
            return;
        Assert.Contains(version, client.Output, StringComparison.Ordinal);
        Assert.Contains("Verify return code: 0 (ok)", client.Output, StringComparison.Ordinal);
        Assert.Contains("No ALPN negotiated", client.Output, StringComparison.Ordinal);
    }

    private void Secure(GatewayConfiguration configuration)
    {
        CertificateFiles own = authority.Issue("gateway");
        ListenerOptions secure = RunningGateway.Listener("secure", "127.0.0.1:0");
        secure.Authentication = ["certificate", "hmac"];
        secure.Tls = new ListenerTlsOptions { Certificate = own.Certificate, Key = own.Key, ClientCa = authority.CaFile };
        configuration.Listeners.Add(secure);
    }
}
