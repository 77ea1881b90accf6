using System.Net.Sockets;
using System.Text;
using System.Text.Json;

using IotTcpGateway.Health;

namespace IotTcpGateway.Cli;

/// <summary>Asks a running gateway through its control socket.</summary>
internal static class ControlClient
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(5);

    /// <summary>Sends a request; returns the answer.</summary>
    /// <exception cref="SocketException">None answers there.</exception>
    public static async Task<string> RequestAsync(string path, string request, CancellationToken stopping)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        limit.CancelAfter(Limit);
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), limit.Token).ConfigureAwait(false);
        await using var stream = new NetworkStream(socket);
        await stream.WriteAsync(Encoding.UTF8.GetBytes(request + "\n"), limit.Token).ConfigureAwait(false);
        using var reader = new StreamReader(stream);
        return await reader.ReadToEndAsync(limit.Token).ConfigureAwait(false);
    }

    /// <summary>What the gateway knows of its devices; null if none answers there.</summary>
    public static async Task<DevicesReport?> DevicesAsync(string path, CancellationToken stopping)
    {
        try
        {
            string answer = await RequestAsync(path, ControlSocket.DevicesRequest, stopping).ConfigureAwait(false);
            return JsonSerializer.Deserialize(answer, DevicesJson.Default.DevicesReport);
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            return null;
        }
    }
}
