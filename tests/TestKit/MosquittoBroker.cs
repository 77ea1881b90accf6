using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace IotTcpGateway.TestKit;

/// <summary>A broker that a test can take away and bring back on the same port.</summary>
public interface ITestBroker : IAsyncDisposable
{
    /// <summary>Where the gateway connects.</summary>
    public int Port { get; }

    public Task StartAsync();

    /// <summary>Ends it as its maker intends it; what it has confirmed it still has when it is started again.</summary>
    public Task StopAsync();
}

/// <summary>How a mosquitto is to be.</summary>
public sealed record MosquittoOptions
{
    /// <summary>Keep sessions and retained messages over a restart.</summary>
    public bool IsPersistent { get; init; } = true;

    /// <summary>Signs the broker's certificate; null for plain TCP.</summary>
    public TestAuthority? Authority { get; init; }

    /// <summary>Accept only clients with a certificate of that authority.</summary>
    public bool RequiresCertificate { get; init; }

    /// <summary>The only user let in; null lets in everybody.</summary>
    public (string User, string Password)? Login { get; init; }

    /// <summary>Receive maximum for MQTT 5 clients; null for mosquitto's own default.</summary>
    public int? InFlightMax { get; init; }

    /// <summary>Bytes of the largest packet that it takes; null for mosquitto's own default.</summary>
    public int? PacketBytesMax { get; init; }

    /// <summary>Null for a free one.</summary>
    public int? Port { get; init; }
}

/// <summary>
/// A real mosquitto on loopback. Beside the listener under test it has a plain one for the test's own clients, so that
/// these need no certificates.
/// </summary>
public sealed class MosquittoBroker : ITestBroker
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("iotgw-mosquitto-");
    private readonly string configurationFile;
    private ChildProcess? process;

    private MosquittoBroker(MosquittoOptions options)
    {
        Port = options.Port ?? Loopback.FreePort();
        ClientPort = Loopback.FreePort();
        configurationFile = Path.Combine(folder.FullName, "mosquitto.conf");
        File.WriteAllText(configurationFile, ConfigurationOf(options));
    }

    /// <inheritdoc/>
    public int Port { get; }

    /// <summary>Where the test's own clients connect: plain, everybody let in.</summary>
    public int ClientPort { get; }

    public string Log => process?.Output ?? "";

    public static async Task<MosquittoBroker> StartAsync(MosquittoOptions? options = null)
    {
        var broker = new MosquittoBroker(options ?? new MosquittoOptions());
        await broker.StartAsync();
        return broker;
    }

    /// <inheritdoc/>
    public async Task StartAsync()
    {
        process = ChildProcess.Start(Program(), "-c", configurationFile);
        await process.SaysAsync(" running");
    }

    /// <inheritdoc/>
    public async Task StopAsync()
    {
        await process!.TerminateAsync();
        await process.DisposeAsync();
        process = null;
    }

    /// <summary>Kills it: what it has not written down is gone.</summary>
    public Task KillAsync() => process!.KillAsync();

    /// <summary>Stops its clock: its connections stay, and nothing is answered until <see cref="Thaw"/>.</summary>
    public void Freeze() => process!.Freeze();

    public void Thaw() => process!.Thaw();

    public async Task RestartAsync()
    {
        await StopAsync();
        await StartAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (process is not null)
            await process.DisposeAsync();
        folder.Delete(recursive: true);
    }

    // Debian puts it where only root's path leads.
    private static string Program()
    {
        string path = Environment.GetEnvironmentVariable("PATH") ?? "";
        string[] places = [.. path.Split(':'), "/usr/sbin", "/usr/local/sbin"];
        return places.Select(place => Path.Combine(place, "mosquitto")).FirstOrDefault(File.Exists)
            ?? throw new FileNotFoundException("mosquitto is not installed: tests/run installs it");
    }

    private string ConfigurationOf(MosquittoOptions options)
    {
        var lines = new List<string>
        {
            // Started by root it would become a user who may not read the folder.
            $"user {Environment.UserName}",
            "per_listener_settings true",
            "log_dest stderr",
            "set_tcp_nodelay true",
            "max_queued_messages 0",
            $"persistence {(options.IsPersistent ? "true" : "false")}",
            $"persistence_location {folder.FullName}/",
            "autosave_interval 0",
        };
        if (options.InFlightMax is { } inFlight)
            lines.Add(string.Create(CultureInfo.InvariantCulture, $"max_inflight_messages {inFlight}"));
        if (options.PacketBytesMax is { } packetBytesMax)
            lines.Add(string.Create(CultureInfo.InvariantCulture, $"max_packet_size {packetBytesMax}"));
        lines.Add(string.Create(CultureInfo.InvariantCulture, $"listener {ClientPort} 127.0.0.1"));
        lines.Add("allow_anonymous true");
        lines.Add(string.Create(CultureInfo.InvariantCulture, $"listener {Port} 127.0.0.1"));
        lines.Add($"allow_anonymous {(options.Login is null ? "true" : "false")}");
        if (options.Login is { } login)
            lines.Add($"password_file {PasswordFile(login)}");
        if (options.Authority is { } authority)
        {
            CertificateFiles own = authority.Issue("mosquitto");
            lines.AddRange([$"cafile {authority.CaFile}", $"certfile {own.Certificate}", $"keyfile {own.Key}"]);
            if (options.RequiresCertificate)
                lines.Add("require_certificate true");
        }

        return string.Join('\n', lines) + "\n";
    }

    // The format of mosquitto_passwd: $7$iterations$salt$PBKDF2-HMAC-SHA-512.
    private string PasswordFile((string User, string Password) login)
    {
        const int Iterations = 101;
        const int HashBytes = 64;
        byte[] salt = RandomNumberGenerator.GetBytes(12);
        byte[] hash = Rfc2898DeriveBytes.Pbkdf2(
            Encoding.UTF8.GetBytes(login.Password), salt, Iterations, HashAlgorithmName.SHA512, HashBytes);
        string path = Path.Combine(folder.FullName, "passwords");
        string secret = $"$7${Iterations}${Convert.ToBase64String(salt)}${Convert.ToBase64String(hash)}";
        File.WriteAllText(path, $"{login.User}:{secret}\n");
        return path;
    }
}
