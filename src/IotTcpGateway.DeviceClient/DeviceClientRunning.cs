using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <content>Connecting, again and again.</content>
public sealed partial class DeviceClient
{
    private async Task RunAsync()
    {
        Task carryingOut = commands.RunAsync(stopping.Token);
        try
        {
            await ConnectUntilStoppedAsync().ConfigureAwait(false);
        }
        catch (Exception failure)
        {
            // A callback threw. Whoever waits must not wait for a client that is gone; StopAsync throws it on.
            custody.Stop(failure);
            lock (gate)
                state = new DeviceClientState(DeviceClientPhase.Stopped, state.LastEnd);
            throw;
        }
        finally
        {
            await stopping.CancelAsync().ConfigureAwait(false);
            await carryingOut.ConfigureAwait(false);
        }
    }

    private async Task ConnectUntilStoppedAsync()
    {
        int failures = 0;
        ConnectionEnd? end = null;
        while (!stopping.IsCancellationRequested)
        {
            Enter(new DeviceClientState(DeviceClientPhase.Connecting, end));
            (end, bool hasHeld) = await ConnectOnceAsync(end).ConfigureAwait(false);
            if (stopping.IsCancellationRequested)
                break;
            if (end.NeedsNewBoot)
                custody.RenewBoot();
            failures = hasHeld ? 1 : failures + 1;
            TimeSpan wait = BackOff.Next(failures, end, options.Jitter.NextDouble());
            Task sleep = Task.Delay(wait, time, stopping.Token);
            Enter(new DeviceClientState(DeviceClientPhase.Waiting, end, time.GetUtcNow() + wait));
            await sleep.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        Enter(new DeviceClientState(DeviceClientPhase.Stopped, end));
    }

    private async Task<(ConnectionEnd End, bool HasHeld)> ConnectOnceAsync(ConnectionEnd? last)
    {
        using var timeout = new CancellationTokenSource(options.ConnectTimeout, time);
        using var limits = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, stopping.Token);
        Transport? transport = null;
        try
        {
            transport = await Transport.ConnectAsync(options.Host, options.Port, tls, limits.Token)
                .ConfigureAwait(false);
            var input = new ReceiveBuffer();
            HandshakeStep step = await ShakeHandsAsync(transport.Stream, input, limits.Token).ConfigureAwait(false);
            return step.Terms is { } terms
                ? await HoldAsync(transport, input, terms, last).ConfigureAwait(false)
                : (step.End!, false);
        }
        catch (OperationCanceledException) when (limits.IsCancellationRequested)
        {
            return (stopping.IsCancellationRequested ? Endings.Stopped : Endings.HandshakeTimedOut, false);
        }
        catch (AuthenticationException untrusted)
        {
            return (new ConnectionEnd(ConnectionEndKind.GatewayNotTrusted, untrusted.Message), false);
        }
        catch (Exception failure) when (failure is SocketException or IOException)
        {
            ConnectionEndKind kind = transport is null ? ConnectionEndKind.ConnectFailed : ConnectionEndKind.Lost;
            return (new ConnectionEnd(kind, failure.Message), false);
        }
        finally
        {
            transport?.Dispose();
        }
    }

    private async Task<HandshakeStep> ShakeHandsAsync(Stream stream, ReceiveBuffer input, CancellationToken limits)
    {
        (uint bootId, uint highestUsed) = custody.BootForHello();
        byte[] nonce = RandomNumberGenerator.GetBytes(ProtocolConstants.NonceBytes);
        var handshake = new Handshake(options, key, bootId, highestUsed, nonce);
        await WriteAsync(stream, FrameType.Hello, handshake.HelloBody, limits).ConfigureAwait(false);
        while (true)
        {
            HandshakeStep step = NextStep(handshake, input);
            if (step.Terms is not null || step.End is not null)
                return step;
            if (step.Auth is { } proof)
            {
                await WriteAsync(stream, FrameType.Auth, proof, limits).ConfigureAwait(false);
                continue;
            }

            int count = await stream.ReadAsync(input.RoomToReceive(), limits).ConfigureAwait(false);
            if (count == 0)
                return new HandshakeStep(null, null, Endings.Closed);
            input.Received(count);
        }
    }

    private static HandshakeStep NextStep(Handshake handshake, ReceiveBuffer input)
    {
        FrameReadResult result = input.Read(tagAllowed: false, out Frame frame);
        return result switch
        {
            FrameReadResult.Frame => handshake.Take(frame.Header.Type, frame.Body),
            FrameReadResult.NeedMoreData => default,
            _ => new HandshakeStep(null, null, Endings.BadFrame(result)),
        };
    }

    private static ValueTask WriteAsync(Stream stream, FrameType type, byte[] body, CancellationToken limits)
    {
        var output = new byte[ProtocolConstants.FrameBytes(body.Length, tagged: false)];
        int bytes = FrameWriter.Write(output, type, 0, body);
        return stream.WriteAsync(output.AsMemory(0, bytes), limits);
    }

    private async Task<(ConnectionEnd End, bool HasHeld)> HoldAsync(
        Transport transport, ReceiveBuffer input, WelcomeTerms terms, ConnectionEnd? last)
    {
        using var opened = new Connection(transport, input, terms, custody, commands, time);
        try
        {
            if (!opened.TryOpen(terms.LastSafe))
                return (Endings.BootIdReused, false);
            lock (gate)
            {
                connection = opened;
                connects++;
                gatewayTimeOffset = OffsetOf(terms.GatewayTime);
                opened.Describe(channels);
            }

            opened.StartWatch();
            // A stop that came before the connection was known has not ended it.
            if (stopping.IsCancellationRequested)
                opened.End(Endings.Stopped, ByeReason.Normal);
            Enter(new DeviceClientState(DeviceClientPhase.Online, last));
            ConnectionEnd end = await opened.RunAsync().ConfigureAwait(false);
            return (end, opened.HasHeld);
        }
        finally
        {
            custody.Close();
            lock (gate)
                connection = null;
        }
    }

    // Beyond the year 9999 it is no time at all.
    private TimeSpan? OffsetOf(long gatewayTime) => gatewayTime is > 0 and < 253_402_300_800_000_000
        ? TimeSpan.FromMicroseconds(gatewayTime) - (time.GetUtcNow() - DateTimeOffset.UnixEpoch)
        : null;

    private void Enter(DeviceClientState entered)
    {
        lock (gate)
            state = entered;
        try
        {
            options.OnStateChanged?.Invoke(entered);
        }
        catch (Exception thrown)
        {
            // Wrapped, so that it is not taken for a fault of the line.
            throw new InvalidOperationException($"OnStateChanged threw: {thrown.Message}", thrown);
        }
    }
}
