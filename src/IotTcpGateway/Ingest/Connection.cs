using System.Net;
using System.Net.Sockets;

using IotTcpGateway.Tls;

namespace IotTcpGateway.Ingest;

/// <summary>
/// One accepted TCP connection, with TLS from the moment at which it is secured. What the network does to it comes out as
/// <see cref="SocketException"/> or <see cref="ObjectDisposedException"/>, with TLS too.
/// </summary>
internal sealed class Connection(Socket socket) : IDisposable
{
    private TlsChannel? tls;

    /// <summary>Address of the peer; IPv4-mapped addresses as IPv4.</summary>
    public IPAddress Address { get; } = Normalise(((IPEndPoint)socket.RemoteEndPoint!).Address);

    /// <summary>Of the certificate that the peer has shown and that was found good; null if there is none.</summary>
    public CertificateIdentity? Certificate => Volatile.Read(ref tls)?.Certificate;

    /// <summary>Whether bytes wait in the kernel: after a wait that ended, none are the peer's end.</summary>
    public bool HasBytes => socket.Available > 0;

    /// <summary>A handshake over the bare connection; on success, give it to <see cref="Secure"/>.</summary>
    public TlsHandshake BeginTls() => new(socket);

    /// <summary>From now on everything goes through TLS; before anything else was sent or received.</summary>
    public void Secure(TlsChannel channel) => Volatile.Write(ref tls, channel);

    /// <summary>Completes when there is something to read, without holding a buffer.</summary>
    public ValueTask<int> WaitToReadAsync(CancellationToken stopping) => ReceiveAsync(Memory<byte>.Empty, stopping);

    public ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken stopping) => tls is null
        ? socket.ReceiveAsync(buffer, SocketFlags.None, stopping)
        : tls.ReceiveAsync(buffer, stopping);

    public ValueTask<int> SendAsync(ReadOnlyMemory<byte> bytes) =>
        tls is null ? socket.SendAsync(bytes, SocketFlags.None) : tls.SendAsync(bytes);

    /// <summary>Tells the peer that nothing more comes; when all sends have ended.</summary>
    public async Task HalfCloseAsync()
    {
        try
        {
            if (tls is not null)
                await tls.EndSendingAsync().ConfigureAwait(false);
            socket.Shutdown(SocketShutdown.Send);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The peer or we closed it already: there is nothing left to shut down.
        }
    }

    /// <summary>Ends everything at once.</summary>
    public void Dispose()
    {
        socket.Dispose();
        Volatile.Read(ref tls)?.Dispose();
    }

    private static IPAddress Normalise(IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
}
