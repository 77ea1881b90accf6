using System.Net.Sockets;
using System.Text;
using System.Text.Json;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Health;

/// <summary>
/// Answers "iotgw status" and its friends on a Unix socket that only the owner and group may use: one line of request,
/// the answer, close.
/// </summary>
internal sealed partial class ControlSocket : IDisposable
{
    public const string DefaultPath = "/run/iot-tcp-gateway/control.sock";

    public const string StatusRequest = "status";
    public const string DevicesRequest = "devices";

    private const int RequestBytesMax = 256;
    private const UnixFileMode OwnerAndGroup =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;

    private static readonly TimeSpan ClientLimit = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan AcceptPause = TimeSpan.FromSeconds(1);

    private readonly string path;
    private readonly GatewayHealth health;
    private readonly ILogger logger;
    private readonly Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly CancellationTokenSource stopping = new();

    public ControlSocket(string path, GatewayHealth health, ILogger logger)
    {
        this.path = path;
        this.health = health;
        this.logger = logger;
    }

    /// <summary>Begins to answer; without a usable path it says so and the gateway runs on without.</summary>
    public void Start()
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            RemoveStale();
            socket.Bind(new UnixDomainSocketEndPoint(path));
            File.SetUnixFileMode(path, OwnerAndGroup);
            socket.Listen(8);
            _ = ServeAsync(stopping.Token);
        }
        catch (Exception e) when (e is SocketException or IOException or UnauthorizedAccessException or ArgumentException)
        {
            LogUnavailable(logger, path, e.Message);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        stopping.Cancel();
        // This removes the socket's file too, if it was bound here.
        socket.Dispose();
        stopping.Dispose();
    }

    // A socket file that nobody answers is of a gateway that was killed.
    private void RemoveStale()
    {
        if (!File.Exists(path))
            return;
        using var probe = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException)
        {
            File.Delete(path);
            return;
        }

        throw new IOException("another gateway answers on it");
    }

    // Ends when disposed, and in no other way.
    private async Task ServeAsync(CancellationToken stop)
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                using Socket client = await AcceptAsync(stop).ConfigureAwait(false);
                using var limit = CancellationTokenSource.CreateLinkedTokenSource(stop);
                limit.CancelAfter(ClientLimit);
                await AnswerAsync(client, limit.Token).ConfigureAwait(false);
            }
            catch (Exception e) when (e is OperationCanceledException or ObjectDisposedException)
            {
                // The client dawdled, or we are told to stop: the loop's condition tells which.
            }
            catch (Exception e)
            {
                // The top of this worker: one client's request must not end the socket for the others.
                LogClientFailed(logger, e.Message);
            }
        }
    }

    private async Task<Socket> AcceptAsync(CancellationToken stop)
    {
        for (bool isFirst = true; ; isFirst = false)
        {
            try
            {
                return await socket.AcceptAsync(stop).ConfigureAwait(false);
            }
            catch (SocketException e) when (!stop.IsCancellationRequested)
            {
                // No descriptor is free: accepting again at once would spin until there is one.
                if (isFirst)
                    LogClientFailed(logger, e.Message);
                await Task.Delay(AcceptPause, TimeProvider.System, stop).ConfigureAwait(false);
            }
        }
    }

    private async Task AnswerAsync(Socket client, CancellationToken limit)
    {
        byte[] request = new byte[RequestBytesMax];
        int filled = 0;
        while (filled < request.Length && !request.AsSpan(0, filled).Contains((byte)'\n'))
        {
            int received = await client.ReceiveAsync(request.AsMemory(filled), limit).ConfigureAwait(false);
            if (received == 0)
                break;
            filled += received;
        }

        byte[] answer = Encoding.UTF8.GetString(request, 0, filled).Trim() switch
        {
            StatusRequest => JsonSerializer.SerializeToUtf8Bytes(health.Status(), StatusJson.Default.GatewayStatus),
            DevicesRequest => JsonSerializer.SerializeToUtf8Bytes(health.Devices(), DevicesJson.Default.DevicesReport),
            _ => """{"error":"unknown request"}"""u8.ToArray(),
        };
        for (int sent = 0; sent < answer.Length;)
            sent += await client.SendAsync(answer.AsMemory(sent), limit).ConfigureAwait(false);
    }

    [LoggerMessage(1601, LogLevel.Warning, "no control socket at {Path} ({Why}): \"iotgw status\" will not reach this gateway")]
    private static partial void LogUnavailable(ILogger logger, string path, string why);

    [LoggerMessage(1602, LogLevel.Warning, "a request on the control socket failed: {Why}")]
    private static partial void LogClientFailed(ILogger logger, string why);
}
