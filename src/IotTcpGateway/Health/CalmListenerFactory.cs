using System.Net;
using System.Net.Sockets;

using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Health;

/// <summary>
/// HTTP connections for Kestrel, accepted with a pause after a failure. Its own transport accepts again at once, which
/// takes a whole core for as long as the process has no descriptor left.
/// </summary>
internal sealed class CalmListenerFactory(TimeProvider time, ILoggerFactory loggers) : IConnectionListenerFactory
{
    private const int Backlog = 64;
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(1);

    /// <inheritdoc/>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        var socket = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (endpoint is IPEndPoint { Address: var address } && address.Equals(IPAddress.IPv6Any))
                socket.DualMode = true;
            socket.Bind(endpoint);
            socket.Listen(Backlog);
        }
        catch (SocketException)
        {
            socket.Dispose();
            throw;
        }

        return ValueTask.FromResult<IConnectionListener>(new CalmListener(socket, time, loggers));
    }

    private sealed class CalmListener(Socket socket, TimeProvider time, ILoggerFactory loggers) : IConnectionListener
    {
        private readonly SocketConnectionContextFactory contexts =
            new(new SocketConnectionFactoryOptions(), loggers.CreateLogger<CalmListener>());

        public EndPoint EndPoint { get; } = socket.LocalEndPoint!;

        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
        {
            while (true)
            {
                try
                {
                    Socket accepted = await socket.AcceptAsync(cancellationToken).ConfigureAwait(false);
                    accepted.NoDelay = true;
                    return contexts.Create(accepted);
                }
                catch (Exception e) when (e is ObjectDisposedException
                    or SocketException { SocketErrorCode: SocketError.OperationAborted })
                {
                    // Unbound: nothing more comes.
                    return null;
                }
                catch (SocketException)
                {
                    // No descriptor, or a client that is gone already: who still waits is served after the pause.
                    await Task.Delay(Pause, time, cancellationToken).ConfigureAwait(false);
                }
            }
        }

        public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
        {
            socket.Dispose();
            return ValueTask.CompletedTask;
        }

        public ValueTask DisposeAsync()
        {
            socket.Dispose();
            contexts.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
