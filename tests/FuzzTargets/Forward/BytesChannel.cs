using System.Buffers;
using System.Net;
using System.Security.Cryptography.X509Certificates;

using IotTcpGateway.Forward;
using IotTcpGateway.Fuzz.Protocol;

using MQTTnet.Channel;

namespace IotTcpGateway.Fuzz.Forward;

/// <summary>A channel of the MQTT client that reads bytes through the link's stream, and never waits.</summary>
internal sealed class BytesChannel(byte[] bytes, int pieceBytes, long packetBytesMax) : IMqttChannel
{
    private readonly LinkStream stream = new(new PiecesStream(bytes, pieceBytes), packetBytesMax);

    /// <summary>Bytes that came through so far.</summary>
    public int Passed { get; private set; }

    public X509Certificate2? ClientCertificate => null;

    public EndPoint? RemoteEndPoint => null;

    public EndPoint? LocalEndPoint => null;

    public bool IsSecureConnection => false;

    public Task ConnectAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task DisconnectAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        int read = await stream.ReadAsync(buffer.AsMemory(offset, count), cancellationToken).ConfigureAwait(false);
        Require.SameBytes(bytes.AsSpan(Passed, read), buffer.AsSpan(offset, read), "what came through");
        Passed += read;
        return read;
    }

    public Task WriteAsync(ReadOnlySequence<byte> buffer, bool isEndOfPacket, CancellationToken cancellationToken) =>
        Task.CompletedTask;

    public void Dispose() => stream.Dispose();

    private sealed class PiecesStream(byte[] content, int piece) : MemoryStream(content)
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            base.ReadAsync(buffer[..Math.Min(buffer.Length, piece)], cancellationToken);
    }
}
