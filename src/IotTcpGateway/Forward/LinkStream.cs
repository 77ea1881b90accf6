using System.Buffers;

namespace IotTcpGateway.Forward;

/// <summary>
/// The bytes between the MQTT client and the network. Writes return at once and go out together, whatever has gathered
/// while the last send was under way (the publishing window bounds them); reads fill a block instead of a packet's
/// header byte by byte; and a packet that announces more than is allowed ends the link before anything is allocated.
/// </summary>
internal sealed class LinkStream(Stream network, long inboundPacketBytesMax) : Stream
{
    private const int ReadBytes = 8192;

    private readonly Lock gate = new();
    private readonly InboundGuard guard = new(inboundPacketBytesMax);
    private byte[]? readBlock;
    private int readStart;
    private int readEnd;
    private byte[]? pending;
    private int pendingBytes;
    private bool isFlushing;
    private IOException? failure;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (readStart == readEnd)
        {
            readBlock ??= ArrayPool<byte>.Shared.Rent(ReadBytes);
            readStart = 0;
            readEnd = await network.ReadAsync(readBlock, cancellationToken).ConfigureAwait(false);
            guard.Inspect(readBlock.AsSpan(0, readEnd));
        }

        int bytes = Math.Min(buffer.Length, readEnd - readStart);
        readBlock.AsSpan(readStart, bytes).CopyTo(buffer.Span);
        readStart += bytes;
        return bytes;
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        lock (gate)
        {
            if (failure is not null)
                return ValueTask.FromException(failure);
            Append(buffer.Span);
            if (isFlushing)
                return ValueTask.CompletedTask;
            isFlushing = true;
        }

        _ = FlushLoopAsync();
        return ValueTask.CompletedTask;
    }

    public override void Flush()
    {
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        lock (gate)
            failure ??= new IOException("the link is closed");
        network.Dispose();
        base.Dispose(disposing);
    }

    private void Append(ReadOnlySpan<byte> bytes)
    {
        pending ??= ArrayPool<byte>.Shared.Rent(Math.Max(bytes.Length, 16 * 1024));
        if (pendingBytes + bytes.Length > pending.Length)
        {
            byte[] longer = ArrayPool<byte>.Shared.Rent((pendingBytes + bytes.Length) * 2);
            pending.AsSpan(0, pendingBytes).CopyTo(longer);
            ArrayPool<byte>.Shared.Return(pending);
            pending = longer;
        }

        bytes.CopyTo(pending.AsSpan(pendingBytes));
        pendingBytes += bytes.Length;
    }

    // A failed write is kept for the next WriteAsync, and the network is closed, so that the reader ends too.
    private async Task FlushLoopAsync()
    {
        // The publishing loop goes on first and adds to the block.
        await Task.Yield();
        while (TryTakePending(out byte[] block, out int bytes))
        {
            try
            {
                await network.WriteAsync(block.AsMemory(0, bytes)).ConfigureAwait(false);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException or InvalidOperationException)
            {
                lock (gate)
                    failure ??= new IOException("the link is lost: " + e.Message, e);
                await network.DisposeAsync().ConfigureAwait(false);
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(block);
            }
        }
    }

    private bool TryTakePending(out byte[] block, out int bytes)
    {
        lock (gate)
        {
            block = pending ?? [];
            bytes = pendingBytes;
            pending = null;
            pendingBytes = 0;
            isFlushing = bytes > 0 && failure is null;
            if (!isFlushing && block.Length > 0)
                ArrayPool<byte>.Shared.Return(block);
            return isFlushing;
        }
    }

    /// <summary>Follows the packets' lengths in what the broker sends.</summary>
    private sealed class InboundGuard(long packetBytesMax)
    {
        private bool isInLength;
        private long length;
        private int shift;
        private long skip;

        public void Inspect(ReadOnlySpan<byte> bytes)
        {
            while (bytes.Length > 0)
            {
                if (skip > 0)
                {
                    int passed = (int)Math.Min(skip, bytes.Length);
                    skip -= passed;
                    bytes = bytes[passed..];
                    continue;
                }

                byte next = bytes[0];
                bytes = bytes[1..];
                if (!isInLength)
                {
                    isInLength = true;
                    length = shift = 0;
                    continue;
                }

                length |= (long)(next & 0x7F) << shift;
                shift += 7;
                if (length > packetBytesMax || shift > 28)
                    throw new IOException($"the broker announces a packet of over {packetBytesMax} bytes");
                if ((next & 0x80) != 0)
                    continue;
                isInLength = false;
                skip = length;
            }
        }
    }
}
