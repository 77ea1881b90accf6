using System.Globalization;

using IotTcpGateway.Configuration;
using IotTcpGateway.Health;
using IotTcpGateway.Ingest;
using IotTcpGateway.Keys;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Demo;

/// <summary>The real gateway between a fleet of simulated devices and an embedded broker, all on loopback.</summary>
internal sealed class DemoWorld : IAsyncDisposable
{
    private const string GatewayId = "demo";
    private const int DeviceCount = 25;
    private const double FramesPerSecond = 4;

    private static readonly TimeSpan DrainStep = TimeSpan.FromMilliseconds(50);

    private readonly Consumer consumer = new();
    private readonly EmbeddedBroker broker;
    private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("iotgw-demo-");
    private readonly Gateway gateway;
    private readonly HttpEndpoint http;
    private readonly Lock gate = new();
    private Fleet? fleet;
    private Task changing = Task.CompletedTask;

    public DemoWorld(ILoggerFactory loggers)
    {
        broker = new EmbeddedBroker(consumer, $"telemetry/{GatewayId}/");
        string keyFile = Path.Combine(directory.FullName, "devices.json");
        var configuration = new GatewayConfiguration
        {
            Gateway = new GatewayOptions { Id = GatewayId, TrustClock = true },
            Listeners = [new ListenerOptions { Endpoint = "127.0.0.1:0" }],
            Devices = new DevicesOptions { File = keyFile },
            Http = new HttpOptions { Endpoint = "127.0.0.1:0" },
        };
        configuration.Buffer.Directory = Path.Combine(directory.FullName, "buffer");
        configuration.Mqtt.Brokers = [string.Create(CultureInfo.InvariantCulture, $"mqtt://127.0.0.1:{broker.Port}")];
        GatewayDefaults.Fill(configuration);
        gateway = new Gateway(configuration, TimeProvider.System, () => true, loggers.CreateLogger("iotgw"));
        http = new HttpEndpoint(configuration.Http, gateway.Health, TimeProvider.System, loggers);
        Keys = MakeKeys(keyFile);
    }

    /// <summary>Frames that have arrived at the broker, duplicates not counted.</summary>
    public long Delivered => consumer.Frames;

    public long Duplicates => consumer.Duplicates;

    public bool IsBrokerThere => broker.IsThere;

    public string HttpAddress => http.Address;

    public string ListenerAddress => gateway.Endpoints[0].Endpoint.ToString();

    public string BrokerAddress => string.Create(CultureInfo.InvariantCulture, $"mqtt://127.0.0.1:{broker.Port}");

    public LatencyHistogram Latency => fleet!.Latency;

    private Dictionary<string, byte[]> Keys { get; }

    public GatewayStatus Status() => gateway.Status();

    public FleetTotals Totals() => fleet!.Totals();

    public async Task StartAsync()
    {
        await broker.StartAsync().ConfigureAwait(false);
        gateway.Start();
        await http.StartAsync().ConfigureAwait(false);
        fleet = new Fleet(
            new FleetOptions
            {
                Host = "127.0.0.1",
                Port = gateway.Endpoints[0].Endpoint.Port,
                IdPrefix = "demo-",
                Devices = DeviceCount,
                Rate = FramesPerSecond,
                Tagged = true,
                KeyOf = Keys.GetValueOrDefault,
            },
            TimeProvider.System);
    }

    /// <summary>Lets the devices send until told to stop.</summary>
    public Task RunAsync(CancellationToken stopping) => fleet!.SendAsync(stopping);

    /// <summary>Takes the broker away, or brings it back.</summary>
    public void ToggleBroker()
    {
        lock (gate)
        {
            if (changing.IsCompleted)
                changing = broker.IsThere ? broker.StopAsync() : broker.StartAsync();
        }
    }

    /// <summary>
    /// Brings the broker back and waits until every frame is acknowledged, and, because it may have been from disk, until
    /// the broker has it; false if the limit comes first.
    /// </summary>
    public async Task<bool> SettleAsync(TimeSpan limit, CancellationToken stopping)
    {
        await changing.ConfigureAwait(false);
        if (!broker.IsThere)
            await broker.StartAsync().ConfigureAwait(false);
        long since = TimeProvider.System.GetTimestamp();
        if (!await fleet!.FlushAsync(limit, stopping).ConfigureAwait(false))
            return false;
        while (gateway.Status().Buffer.Records > 0)
        {
            if (stopping.IsCancellationRequested || TimeProvider.System.GetElapsedTime(since) > limit)
                return false;
            await Task.Delay(DrainStep, CancellationToken.None).ConfigureAwait(false);
        }

        return true;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (fleet is not null)
            await fleet.DisposeAsync().ConfigureAwait(false);
        await gateway.StopAsync(_ => { }).ConfigureAwait(false);
        await http.DisposeAsync().ConfigureAwait(false);
        await gateway.DisposeAsync().ConfigureAwait(false);
        await changing.ConfigureAwait(false);
        await broker.DisposeAsync().ConfigureAwait(false);
        directory.Delete(recursive: true);
    }

    private static Dictionary<string, byte[]> MakeKeys(string path)
    {
        string[] ids = [.. Enumerable.Range(1, DeviceCount).Select(number => $"demo-{number}")];
        return new KeyFile(path).AddAll(ids, TimeProvider.System.GetUtcNow()).ToDictionary(d => d.Id, d => d.Key!);
    }
}
