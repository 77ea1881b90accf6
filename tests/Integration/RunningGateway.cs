using System.Globalization;
using System.Net;

using IotTcpGateway.Configuration;
using IotTcpGateway.Health;
using IotTcpGateway.Ingest;
using IotTcpGateway.Keys;

namespace IotTcpGateway.Integration;

/// <summary>The real gateway in this process, with a key file of its own.</summary>
internal sealed class RunningGateway : IAsyncDisposable
{
    public const string Id = "gw";

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("iotgw-test-");
    private readonly GatewayConfiguration configuration;
    private Gateway? gateway;

    private RunningGateway(
        IReadOnlyCollection<string> idsWithKey, int brokerPort, Action<GatewayConfiguration>? configure)
    {
        string keyFile = Path.Combine(folder.FullName, "devices.json");
        Keys = new KeyFile(keyFile)
            .AddAll(idsWithKey, TimeProvider.System.GetUtcNow())
            .ToDictionary(d => d.Id, d => d.Key!);
        configuration = new GatewayConfiguration
        {
            Gateway = new GatewayOptions { Id = Id, TrustClock = true },
            Listeners = [Listener("field", "127.0.0.1:0")],
            Devices = new DevicesOptions { File = keyFile },
        };
        configuration.Buffer.Directory = Path.Combine(folder.FullName, "buffer");
        configuration.Mqtt.Brokers = [Uri(brokerPort)];
        configure?.Invoke(configuration);
        GatewayDefaults.Fill(configuration);
    }

    public IReadOnlyDictionary<string, byte[]> Keys { get; }

    public TestLog Log { get; } = new();

    /// <summary>Where its buffer's disk side lies.</summary>
    public string BufferDirectory => configuration.Buffer.Directory;

    public IPEndPoint Endpoint => gateway!.Endpoints[0].Endpoint;

    public static string Uri(int brokerPort) =>
        string.Create(CultureInfo.InvariantCulture, $"mqtt://127.0.0.1:{brokerPort}");

    /// <summary>A listener whose limits do not hold a whole fleet on one address back.</summary>
    public static ListenerOptions Listener(string name, string endpoint) => new()
    {
        Name = name,
        Endpoint = endpoint,
        Authentication = ["hmac", "none"],
        MaxConnectionsPerAddress = 2000,
        MaxUnauthenticated = 2000,
        FramesPerSecond = 1_000_000,
    };

    public static RunningGateway Start(
        IReadOnlyCollection<string> idsWithKey, int brokerPort, Action<GatewayConfiguration>? configure = null)
    {
        var running = new RunningGateway(idsWithKey, brokerPort, configure);
        running.StartGateway();
        return running;
    }

    public IPEndPoint EndpointOf(string listener) => gateway!.Endpoints.Single(e => e.Name == listener).Endpoint;

    public GatewayStatus Status() => gateway!.Status();

    /// <summary>Ends the gateway and starts a new one on the same ports.</summary>
    public async Task RestartAsync()
    {
        foreach (ListenerOptions listener in configuration.Listeners)
            listener.Endpoint = EndpointOf(listener.Name).ToString();
        await StopGatewayAsync();
        StartGateway();
    }

    public async ValueTask DisposeAsync()
    {
        await StopGatewayAsync();
        folder.Delete(recursive: true);
    }

    private void StartGateway()
    {
        gateway = new Gateway(configuration, TimeProvider.System, () => true, Log);
        gateway.Start();
    }

    private async Task StopGatewayAsync()
    {
        await gateway!.StopAsync(_ => { });
        // A worker that failed comes out here.
        await gateway.Completion;
        await gateway.DisposeAsync();
    }
}
