using System.Buffers;

namespace IotTcpGateway.Forward;

/// <summary>
/// The bytes between the MQTT client and the network. Writes return at once and go out together, whatever has gathered
/// while the last send was under way; reads fill a block instead of a packet's header byte by byte; and a packet that
/// announces more than is allowed ends the link before anything is allocated.
/// </summary>
internal sealed class LinkStream(Stream network, long inboundPacketBytesMax) : Stream
{
    /// <summary>
    /// Bytes that may wait for the network; a writer that adds more waits. At QoS 0 nothing else holds it back.
    /// </summary>
    public const int PendingBytesMax = 256 * 1024;

    private const int BlockBytes = 16 * 1024;
    private const int ReadBytes = 8 * 1024;

    private readonly Lock gate = new();
    private readonly InboundGuard guard = new(inboundPacketBytesMax);
    private readonly byte[] readBlock = new byte[ReadBytes];
    private int readStart;
    private int readEnd;
    private byte[]? pending;
    private int pendingBytes;
    private TaskCompletionSource? room;
    private Task flushing = Task.CompletedTask;
    private bool isFlushing;
    private bool hasFailed;

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
            readStart = readEnd = 0;
            int read = await network.ReadAsync(readBlock, cancellationToken).ConfigureAwait(false);
            guard.Inspect(readBlock.AsSpan(0, read));
            readEnd = read;
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
            // What is written after a failure goes nowhere, without a word: only the reader knows what the broker said
            // before it closed, and it ends too. Whoever waits for an answer has a deadline.
            if (hasFailed)
                return ValueTask.CompletedTask;
            Append(buffer.Span);
            if (!isFlushing)
            {
                isFlushing = true;
                flushing = FlushAllAsync();
            }

            // The client closes right behind its DISCONNECT: that must be out before.
            if (IsDisconnect(buffer.Span))
                return new ValueTask(flushing.WaitAsync(cancellationToken));
            if (pendingBytes <= PendingBytesMax)
                return ValueTask.CompletedTask;
            room ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return new ValueTask(room.Task);
        }
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
        Fail();
        network.Dispose();
        base.Dispose(disposing);
    }

    // Each write is a whole packet: the client is told not to split them.
    private static bool IsDisconnect(ReadOnlySpan<byte> packet) => packet.Length > 0 && packet[0] == 0xE0;

    private void Append(ReadOnlySpan<byte> bytes)
    {
        pending ??= ArrayPool<byte>.Shared.Rent(Math.Max(bytes.Length, BlockBytes));
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

    private async Task FlushAllAsync()
    {
        // The publishing loop goes on first and adds to the block.
        await Task.Yield();
        while (TryTakePending(out byte[] block, out int bytes))
        {
            try
            {
                await network.WriteAsync(block.AsMemory(0, bytes)).ConfigureAwait(false);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                Fail();
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(block);
            }
        }
    }

    private bool TryTakePending(out byte[] block, out int bytes)
    {
        TaskCompletionSource? waiter;
        lock (gate)
        {
            block = pending ?? [];
            bytes = pendingBytes;
            pending = null;
            pendingBytes = 0;
            waiter = room;
            room = null;
            isFlushing = bytes > 0 && !hasFailed;
        }

        waiter?.TrySetResult();
        return isFlushing;
    }

    private void Fail()
    {
        TaskCompletionSource? waiter;
        lock (gate)
        {
            hasFailed = true;
            waiter = room;
            room = null;
        }

        waiter?.TrySetResult();
    }
}
