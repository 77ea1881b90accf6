using System.Net;
using System.Net.Sockets;

using MQTTnet.Server;

namespace IotTcpGateway.Demo;

/// <summary>An MQTT broker in this process, on loopback, that can be taken away and brought back.</summary>
internal sealed class EmbeddedBroker : IAsyncDisposable
{
    private readonly Consumer consumer;
    private readonly string topicStart;
    private MqttServer? server;

    /// <param name="consumer">Is given what is published below the topic.</param>
    /// <param name="topicStart">Topics of telemetry begin like this and have one more level.</param>
    public EmbeddedBroker(Consumer consumer, string topicStart)
    {
        this.consumer = consumer;
        this.topicStart = topicStart;
        Port = FreePort();
    }

    public int Port { get; }

    public bool IsThere => server is not null;

    public async Task StartAsync()
    {
        MqttServerOptions options = new MqttServerOptionsBuilder()
            .WithDefaultEndpoint()
            .WithDefaultEndpointBoundIPAddress(IPAddress.Loopback)
            .WithDefaultEndpointBoundIPV6Address(IPAddress.None)
            .WithDefaultEndpointPort(Port)
            .Build();
        MqttServer started = new MqttServerFactory().CreateMqttServer(options);
        started.InterceptingPublishAsync += publish =>
        {
            string topic = publish.ApplicationMessage.Topic;
            if (topic.StartsWith(topicStart, StringComparison.Ordinal) && topic.IndexOf('/', topicStart.Length) < 0
                && !topic.EndsWith("/status", StringComparison.Ordinal))
            {
                consumer.Take(publish.ApplicationMessage.Payload);
            }

            return Task.CompletedTask;
        };
        await started.StartAsync().ConfigureAwait(false);
        server = started;
    }

    public async Task StopAsync()
    {
        if (server is null)
            return;
        MqttServer stopped = server;
        server = null;
        await stopped.StopAsync().ConfigureAwait(false);
        stopped.Dispose();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() => await StopAsync().ConfigureAwait(false);

    // The server cannot tell which port it was given, so one is asked for and given back first.
    private static int FreePort()
    {
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        probe.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)probe.LocalEndPoint!).Port;
    }
}
