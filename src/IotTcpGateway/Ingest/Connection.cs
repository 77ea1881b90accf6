using System.Net;
using System.Net.Sockets;

namespace IotTcpGateway.Ingest;

/// <summary>One accepted TCP connection: the place where TLS will stand between session and socket.</summary>
internal sealed class Connection(Socket socket) : IDisposable
{
    /// <summary>Address of the peer; IPv4-mapped addresses as IPv4.</summary>
    public IPAddress Address { get; } = Normalise(((IPEndPoint)socket.RemoteEndPoint!).Address);

    /// <summary>Completes when there is something to read, without holding a buffer.</summary>
    public ValueTask<int> WaitToReadAsync(CancellationToken stopping) =>
        socket.ReceiveAsync(Memory<byte>.Empty, SocketFlags.None, stopping);

    public ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken stopping) =>
        socket.ReceiveAsync(buffer, SocketFlags.None, stopping);

    public ValueTask<int> SendAsync(ReadOnlyMemory<byte> bytes) => socket.SendAsync(bytes, SocketFlags.None);

    /// <summary>Tells the peer that nothing more comes.</summary>
    public void HalfClose()
    {
        try
        {
            socket.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The peer or we closed it already: there is nothing left to shut down.
        }
    }

    /// <summary>Ends everything at once.</summary>
    public void Dispose() => socket.Dispose();

    private static IPAddress Normalise(IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
}
