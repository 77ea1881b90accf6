using System.Net;

using MQTTnet.Protocol;
using MQTTnet.Server;

namespace IotTcpGateway.TestKit;

/// <summary>
/// A broker of another make, in this process. It keeps no sessions over a restart, so what it accepts is collected in
/// it, before it confirms.
/// </summary>
public sealed class MqttNetBroker(string gatewayId) : ITestBroker
{
    private MqttServer? server;

    /// <inheritdoc/>
    public int Port { get; } = Loopback.FreePort();

    /// <summary>Refuse MQTT 5, as an older broker does.</summary>
    public bool SpeaksOnly311 { get; init; }

    public Deliveries Deliveries { get; } = new(gatewayId);

    /// <inheritdoc/>
    public async Task StartAsync()
    {
        MqttServerOptions options = new MqttServerOptionsBuilder()
            .WithDefaultEndpoint()
            .WithDefaultEndpointBoundIPAddress(IPAddress.Loopback)
            .WithDefaultEndpointBoundIPV6Address(IPAddress.None)
            .WithDefaultEndpointPort(Port)
            .Build();
        server = new MqttServerFactory().CreateMqttServer(options);
        server.ValidatingConnectionAsync += connection =>
        {
            if (SpeaksOnly311 && connection.ProtocolVersion == MQTTnet.Formatter.MqttProtocolVersion.V500)
                connection.ReasonCode = MqttConnectReasonCode.UnsupportedProtocolVersion;
            return Task.CompletedTask;
        };
        server.InterceptingPublishAsync += publish =>
        {
            Deliveries.Take(publish.ApplicationMessage);
            return Task.CompletedTask;
        };
        await server.StartAsync();
    }

    /// <inheritdoc/>
    public async Task StopAsync()
    {
        if (server is null)
            return;
        await server.StopAsync();
        server.Dispose();
        server = null;
    }

    public async ValueTask DisposeAsync() => await StopAsync();
}
