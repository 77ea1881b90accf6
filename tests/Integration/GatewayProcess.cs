using System.Globalization;
using System.Net;

using IotTcpGateway.Keys;
using IotTcpGateway.TestKit;

namespace IotTcpGateway.Integration;

/// <summary>The built program, run as a child with a configuration file.</summary>
internal sealed class GatewayProcess : IAsyncDisposable
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("iotgw-run-");
    private ChildProcess? process;

    public GatewayProcess(IReadOnlyCollection<string> idsWithKey, int brokerPort, string spillAfter = "2s")
    {
        string keyFile = Path.Combine(folder.FullName, "devices.json");
        Keys = new KeyFile(keyFile)
            .AddAll(idsWithKey, TimeProvider.System.GetUtcNow())
            .ToDictionary(d => d.Id, d => d.Key!);
        File.WriteAllText(ConfigurationFile, string.Create(CultureInfo.InvariantCulture, $$"""
            {
              "gateway": { "id": "gw", "trustClock": true }, // as good as any
              "listeners": [ { "name": "field", "endpoint": "{{Endpoint}}", "authentication": ["hmac", "none"],
                               "maxConnectionsPerAddress": 500, "maxUnauthenticated": 500, "framesPerSecond": 10000 } ],
              "devices": { "file": "devices.json" },
              "buffer": { "directory": "buffer", "spillAfter": "{{spillAfter}}" },
              "mqtt": { "brokers": ["mqtt://127.0.0.1:{{brokerPort}}"] },
            }
            """));
    }

    public IPEndPoint Endpoint { get; } = new(IPAddress.Loopback, Loopback.FreePort());

    public IReadOnlyDictionary<string, byte[]> Keys { get; }

    public string Output => process?.Output ?? "";

    private string ConfigurationFile => Path.Combine(folder.FullName, "gateway.json");

    public async Task StartAsync()
    {
        process = ChildProcess.Start(
            Path.Combine(AppContext.BaseDirectory, "iotgw"),
            "run", "--config", ConfigurationFile, "--socket", Path.Combine(folder.FullName, "control.sock"));
        await process.SaysAsync("runs as gw");
    }

    /// <summary>Runs a verb of "iotgw buffer" on its directory; returns what it wrote.</summary>
    public async Task<string> BufferAsync(params string[] arguments)
    {
        await using ChildProcess verb = ChildProcess.Start(
            Path.Combine(AppContext.BaseDirectory, "iotgw"), ["buffer", .. arguments, "--config", ConfigurationFile]);
        int code = await verb.ExitAsync();
        return code == 0 ? verb.Output : throw new InvalidOperationException($"exit code {code}: {verb.Output}");
    }

    /// <summary>Starts a second one on the same directory, which has to end by itself; returns what it said.</summary>
    public async Task<(int ExitCode, string Output)> StartAnotherAsync()
    {
        await using ChildProcess another = ChildProcess.Start(
            Path.Combine(AppContext.BaseDirectory, "iotgw"),
            "run", "--config", ConfigurationFile, "--socket", Path.Combine(folder.FullName, "another.sock"));
        return (await another.ExitAsync(), another.Output);
    }

    /// <summary>SIGTERM; returns the exit code.</summary>
    public Task<int> TerminateAsync() => process!.TerminateAsync();

    /// <summary>SIGKILL.</summary>
    public Task KillAsync() => process!.KillAsync();

    public async ValueTask DisposeAsync()
    {
        if (process is not null)
            await process.DisposeAsync();
        folder.Delete(recursive: true);
    }
}
