using System.Buffers;
using System.Net;
using System.Net.Sockets;
using System.Text;

using IotTcpGateway.Protocol;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Ingest;

/// <summary>How a connection ends: the device is left, told why, and listened to for a moment.</summary>
internal sealed partial class Session
{
    private static readonly TimeSpan LingerTime = TimeSpan.FromSeconds(1);

    /// <summary>Ends a connection that was not let in; nothing of it was read.</summary>
    public async Task RefuseAsync(SessionEnding refused)
    {
        SetDeadline(Expiry.None, 0);
        try
        {
            SendLastFrame(refused, wasOpen: false);
            await LingerAsync().ConfigureAwait(false);
        }
        finally
        {
            Dispose();
        }
    }

    private async Task CloseAsync(SessionEnding ended)
    {
        bool wasOpen = IsOpen;
        try
        {
            if (device is not null)
                LeaveDevice(ended, wasOpen);
            context.Metrics.ConnectionClosed(ended.Label);
            if (ended == SessionEnding.Revoked && listener.Log.Passes())
                LogRevoked(context.Logger, deviceId, Address);
            if (listener.Admission.Count(Address, ended.Misdeed) && listener.Log.Passes())
                LogAddressRefused(context.Logger, Address, ended.Label);
            SendLastFrame(ended, wasOpen);
            if (CanLinger && ended != SessionEnding.SlowSend && ended != SessionEnding.Aborted && ended != SessionEnding.CrowdedOut)
                await LingerAsync().ConfigureAwait(false);
        }
        finally
        {
            LetGo();
            Dispose();
        }

        if (outbox.Defect is { } defect)
            LogDefect(context.Logger, Address, defect);
    }

    private void SendLastFrame(SessionEnding ended, bool wasOpen)
    {
        if (!isSecured)
            return;
        if (wasOpen && ended.Bye is { } bye)
        {
            outbox.SendLast(FrameType.Bye, [(byte)bye]);
        }
        else if (!wasOpen && ended.Refuse is { } reason)
        {
            context.Metrics.ConnectionRefused(ended.Label);
            Span<byte> body = stackalloc byte[256];
            int bytes = new Refuse
            {
                Reason = reason,
                RetryAfterSeconds = ended.RetryAfterSeconds,
                Text = Encoding.UTF8.GetBytes(ended.Text),
            }.WriteBody(body);
            outbox.SendLast(FrameType.Refuse, body[..bytes]);
        }
    }

    // What the peer still sends is read for a moment, or the kernel would answer it with a reset that eats our last
    // frame.
    private async Task LingerAsync()
    {
        using var limit = new CancellationTokenSource(LingerTime, context.Time);
        byte[] discard = ArrayPool<byte>.Shared.Rent(512);
        try
        {
            await outbox.DrainAsync().WaitAsync(limit.Token).ConfigureAwait(false);
            await connection.HalfCloseAsync().WaitAsync(limit.Token).ConfigureAwait(false);
            while (await connection.ReceiveAsync(discard, limit.Token).ConfigureAwait(false) > 0)
            {
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The second is over, or the peer is gone: either way it ends here.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(discard);
        }
    }

    private void LeaveDevice(SessionEnding ended, bool wasOpen)
    {
        bool wasCurrent = context.Devices.Release(device!, this);
        if (wasOpen)
        {
            context.SessionEnded();
            context.Commands.Detach(deviceId, this);
            FailCommands();
            LogOffline(context.Logger, deviceId, Address, ended.Label);
        }

        // Not on a takeover; and if this one took over and did not come to be welcomed, for the older one too.
        if (wasCurrent && (wasOpen || tookOver))
            context.Board.SetStatus(StateOf(isOnline: false, ended.Label), turn);
    }

    // After the last frame, which still tells what became safe.
    private void LetGo()
    {
        if (stream is not null)
            context.Buffer.ReleaseOwner(stream, outbox);
        if (channels != Buffer.ChannelTable.Empty)
            context.Buffer.Unhold(channels);
        channels = Buffer.ChannelTable.Empty;
    }

    [LoggerMessage(1201, LogLevel.Debug, "device {Device} offline from {Address}: {Reason}")]
    private static partial void LogOffline(ILogger logger, string device, IPAddress address, string reason);

    [LoggerMessage(1209, LogLevel.Warning,
        "the session of device {Device} from {Address} is ended: it is revoked, or its key is another now")]
    private static partial void LogRevoked(ILogger logger, string device, IPAddress address);

    [LoggerMessage(1203, LogLevel.Warning,
        "address {Address} breaks the protocol too often (last: {Reason}): refused for 60 s; "
        + "look for a wrong port or firmware there")]
    private static partial void LogAddressRefused(ILogger logger, IPAddress address, string reason);
}
