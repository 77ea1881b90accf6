using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Threading.Channels;

namespace IotTcpGateway.TestKit;

/// <summary>
/// A broker for tests over real loopback sockets that does what the test says, step by step: it confirms nothing,
/// refuses, falls silent or closes when told to. It speaks MQTT 5 or 3.1.1, as the client asks. Its codec is its own.
/// </summary>
public sealed class ScriptedBroker : IAsyncDisposable
{
    private readonly TcpListener listener;
    private readonly SslServerAuthenticationOptions? tls;
    private readonly Channel<ScriptedLink> links = Channel.CreateUnbounded<ScriptedLink>();
    private readonly Task accepting;
    private int connections;

    /// <summary>Listens on a free port of the loopback.</summary>
    /// <param name="tls">With these, every connection begins with a TLS handshake.</param>
    /// <param name="port">0: a free one.</param>
    public ScriptedBroker(SslServerAuthenticationOptions? tls = null, int port = 0)
    {
        this.tls = tls;
        listener = new TcpListener(IPAddress.Loopback, port);
        listener.Start();
        accepting = AcceptAllAsync();
    }

    /// <summary>The port it listens on.</summary>
    public int Port => ((IPEndPoint)listener.LocalEndpoint).Port;

    /// <summary>Its address, as a gateway's configuration names it.</summary>
    public string Uri => tls is null ? $"mqtt://127.0.0.1:{Port}" : $"mqtts://localhost:{Port}";

    /// <summary>TCP connections taken so far.</summary>
    public int Connections => Volatile.Read(ref connections);

    /// <summary>The next connection, before anything was read from it (but TLS).</summary>
    public Task<ScriptedLink> NextLinkAsync() => links.Reader.ReadAsync().AsTask();

    /// <summary>The next connection, with CONNECT read and accepted.</summary>
    public async Task<ScriptedLink> AcceptAsync(ConnAckTerms? terms = null)
    {
        ScriptedLink link = await NextLinkAsync();
        await link.ReceiveConnectAsync();
        await link.ConnAckAsync(0, terms);
        return link;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        listener.Stop();
        await accepting;
        while (links.Reader.TryRead(out ScriptedLink? link))
            link.Close();
    }

    private async Task AcceptAllAsync()
    {
        try
        {
            while (true)
            {
                Socket socket = await listener.AcceptSocketAsync();
                Interlocked.Increment(ref connections);
                _ = HandOverAsync(socket);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // Stopped.
            links.Writer.TryComplete();
        }
    }

    private async Task HandOverAsync(Socket socket)
    {
        Stream stream = new NetworkStream(socket, ownsSocket: true);
        try
        {
            if (tls is not null)
            {
                var secure = new SslStream(stream);
                stream = secure;
                await secure.AuthenticateAsServerAsync(tls);
            }

            links.Writer.TryWrite(new ScriptedLink(socket, stream));
        }
        catch (Exception e) when (e is IOException or System.Security.Authentication.AuthenticationException)
        {
            // The handshake failed, which is what some tests are about; the client says why.
            await stream.DisposeAsync();
        }
    }
}
