using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;

using IotTcpGateway.Tls;

namespace IotTcpGateway.Ingest;

/// <summary>
/// TLS on a connection after its handshake: one receive and one send at a time. It is let go when it is disposed and no
/// call is inside it any more, because its native side must not go from under one; closing the socket ends the calls.
/// </summary>
internal sealed class TlsChannel(SslStream stream, CertificateIdentity? certificate) : IDisposable
{
    private int users = 1;
    private int isDisposed;

    /// <summary>Null if the peer has shown none.</summary>
    public CertificateIdentity? Certificate { get; } = certificate;

    /// <summary>With an empty buffer it waits for something to read, and holds none meanwhile.</summary>
    public async ValueTask<int> ReceiveAsync(Memory<byte> buffer, CancellationToken stopping)
    {
        Enter();
        try
        {
            return await stream.ReadAsync(buffer, stopping).ConfigureAwait(false);
        }
        catch (Exception e) when (IsOfNetwork(e))
        {
            throw AsOfSocket(e);
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Sends all of it.</summary>
    public async ValueTask<int> SendAsync(ReadOnlyMemory<byte> bytes)
    {
        Enter();
        try
        {
            await stream.WriteAsync(bytes, CancellationToken.None).ConfigureAwait(false);
            return bytes.Length;
        }
        catch (Exception e) when (IsOfNetwork(e))
        {
            throw AsOfSocket(e);
        }
        finally
        {
            Leave();
        }
    }

    /// <summary>Sends close_notify; the peer may go on sending.</summary>
    public async Task EndSendingAsync()
    {
        Enter();
        try
        {
            await stream.ShutdownAsync().ConfigureAwait(false);
        }
        catch (Exception e) when (IsOfNetwork(e))
        {
            throw AsOfSocket(e);
        }
        finally
        {
            Leave();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref isDisposed, 1) == 0)
            Leave();
    }

    // A peer that began a renegotiation, which is refused, leaves OpenSSL in a state in which it cannot say goodbye.
    private static bool IsOfNetwork(Exception e) => e is IOException or AuthenticationException or CryptographicException;

    // The session knows sockets' failures; a broken TLS record ends it as a reset does.
    private static SocketException AsOfSocket(Exception e) =>
        e.InnerException as SocketException ?? new SocketException((int)SocketError.ConnectionReset);

    private void Enter()
    {
        int before;
        do
        {
            before = Volatile.Read(ref users);
            ObjectDisposedException.ThrowIf(before == 0 || Volatile.Read(ref isDisposed) != 0, this);
        }
        while (Interlocked.CompareExchange(ref users, before + 1, before) != before);
    }

    private void Leave()
    {
        if (Interlocked.Decrement(ref users) == 0)
            stream.Dispose();
    }
}
