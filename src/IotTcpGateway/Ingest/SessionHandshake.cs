using System.Net;
using System.Security.Cryptography;
using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Ingest;

/// <summary>HELLO to WELCOME.</summary>
internal sealed partial class Session
{
    private byte[] helloBody = [];
    private byte[] gatewayNonce = [];
    private AuthenticationMode mode;
    private uint bootId;
    private uint highestUsed;
    private bool wantsTags;
    private byte[]? key;
    private SessionEnding? refusal;
    private bool hasPlace;

    private Step TakeHello(ReadOnlySpan<byte> body, out object? detail)
    {
        if (!Hello.TryRead(body, out Hello hello))
            return End(SessionEnding.BadHandshake("malformed-hello"), out detail);
        mode = hello.Authentication;
        if (!listener.Accepts(mode))
            return End(SessionEnding.ModeNotAccepted, out detail);

        deviceId = Encoding.UTF8.GetString(hello.DeviceId);
        firmware = Encoding.UTF8.GetString(hello.Firmware);
        bootId = hello.BootId;
        highestUsed = hello.HighestUsed;
        key = context.FindKey(deviceId);
        if (mode == AuthenticationMode.None)
        {
            // A device that has a key is never taken at its word.
            return key is not null
                ? EndUnauthenticated("none for a device that has a key", out detail)
                : Continue(State.AwaitsPlace, out detail);
        }

        wantsTags = hello.Features.HasFlag(Features.TaggedFrames);
        helloBody = body.ToArray();
        gatewayNonce = RandomNumberGenerator.GetBytes(ProtocolConstants.NonceBytes);
        outbox.Send(FrameType.Challenge, 0, gatewayNonce);
        return Continue(State.AwaitsAuth, out detail);
    }

    private Step TakeAuth(ReadOnlySpan<byte> body, out object? detail)
    {
        if (body.Length != ProtocolConstants.ProofBytes)
            return End(SessionEnding.BadHandshake("malformed-auth"), out detail);
        // An unknown device is compared with a key that nobody has: same work, same time, same answer.
        Span<byte> proof = stackalloc byte[ProtocolConstants.ProofBytes];
        Proofs.Device(key ?? context.DummyKey, helloBody, gatewayNonce, proof);
        if (!Proofs.AreEqual(proof, body) || key is null)
            return EndUnauthenticated("wrong proof", out detail);
        IsAuthenticated = true;
        return Continue(State.AwaitsPlace, out detail);
    }

    private Step EndUnauthenticated(string why, out object? detail)
    {
        context.Metrics.AuthenticationFailed();
        if (listener.AuthenticationLog.Passes())
            LogAuthenticationFailed(context.Logger, deviceId, Address, why);
        return End(SessionEnding.AuthenticationFailed, out detail);
    }

    // Takes the device over from an older session, which has stopped reading before anything is promised here.
    private async Task EnterAsync()
    {
        refusal = await ClaimAsync().ConfigureAwait(false);
        if (refusal is null)
            SendWelcome();
    }

    private async Task<SessionEnding?> ClaimAsync()
    {
        if (highestUsed < context.Devices.HighestTaken(deviceId, bootId))
            return SessionEnding.BootIdReused;
        bool replacesOwn = context.Devices.SessionOf(deviceId) is { } own && own.listener == listener;
        if (!listener.Admission.TryAuthenticated(Address, replacesOwn))
            return SessionEnding.TooMany;
        hasPlace = true;
        Device? claimed = context.Devices.Claim(deviceId, this, out Session? older, out bool isDisplaced);
        if (claimed is null)
        {
            if (!isDisplaced)
                return SessionEnding.TooMany;
            EndUnauthenticated("none against an authenticated session", out _);
            return SessionEnding.AuthenticationFailed;
        }

        device = claimed;
        if (older is not null)
            await older.SupersedeAsync().ConfigureAwait(false);
        if (Volatile.Read(ref stopRequested) is { } stop)
            return stop;
        stream = context.Devices.StreamOf(claimed, bootId);
        return highestUsed < stream.HighestTaken ? SessionEnding.BootIdReused : null;
    }

    private void SendWelcome()
    {
        ListenerOptions options = listener.Options;
        context.SessionBegan();
        bool tags = wantsTags && IsAuthenticated;
        uint lastSafe = stream!.SafeSequence;
        ushort window = listener.Window();
        Span<byte> body = stackalloc byte[Welcome.BodyBytes];
        var welcome = new Welcome
        {
            GatewayTime = context.Clock.UnixMicrosecondsOrZero,
            LastSafeSequence = lastSafe,
            Window = window,
            LargestBody = (ushort)options.MaxBody,
            IdleTimeoutSeconds = (ushort)Math.Clamp(options.IdleTimeout.TotalSeconds, 1, ushort.MaxValue),
            FeaturesGranted = tags ? Features.TaggedFrames : Features.None,
        };
        welcome.WriteBody(body);
        FrameTagger? fromGateway = null;
        if (IsAuthenticated)
        {
            Proofs.Gateway(
                key, helloBody, gatewayNonce, body[..Welcome.BytesBeforeProof], body[Welcome.BytesBeforeProof..]);
            if (tags)
            {
                Span<byte> sessionKey = stackalloc byte[ProtocolConstants.ProofBytes];
                Proofs.SessionKey(key, helloBody, gatewayNonce, sessionKey);
                fromDevice = new FrameTagger(sessionKey, FrameDirection.FromDevice);
                fromGateway = new FrameTagger(sessionKey, FrameDirection.FromGateway);
                CryptographicOperations.ZeroMemory(sessionKey);
            }
        }

        // What is needed no more goes; the key stays with the key file alone.
        helloBody = gatewayNonce = [];
        key = null;
        state = State.Open;
        context.Buffer.SetOwner(stream, outbox);
        context.Board.SetStatus(StateOf(isOnline: true, reason: ""));
        context.Commands.Attach(deviceId, this);
        SetDeadline(Expiry.Idle, options.IdleTimeout);
        outbox.SendWelcome(body, stream, lastSafe, window, fromGateway, listener.Window);
        LogOnline(context.Logger, deviceId, Address, mode);
    }

    private void LeaveDevice(SessionEnding ending, bool wasOpen)
    {
        bool wasCurrent = context.Devices.Release(device!, this);
        if (!wasOpen)
            return;
        context.SessionEnded();
        context.Commands.Detach(deviceId, this);
        FailCommands();
        context.Buffer.ReleaseOwner(stream!, outbox);
        if (channels != ChannelTable.Empty)
            context.Buffer.Unhold(channels);
        if (wasCurrent)
            context.Board.SetStatus(StateOf(isOnline: false, ending.Label));
        LogOffline(context.Logger, deviceId, Address, ending.Label);
    }

    private DeviceState StateOf(bool isOnline, string reason) => new(
        deviceId,
        isOnline,
        reason,
        firmware,
        Address.ToString(),
        context.Clock.IsSynchronised ? context.Clock.UnixMilliseconds : 0,
        Channels: null);

    private Step Continue(State next, out object? detail)
    {
        state = next;
        detail = null;
        return Step.Taken;
    }

    private static Step End(SessionEnding ending, out object? detail)
    {
        detail = ending;
        return Step.End;
    }

    [LoggerMessage(1200, LogLevel.Debug, "device {Device} online from {Address}, authentication {Mode}")]
    private static partial void LogOnline(ILogger logger, string device, IPAddress address, AuthenticationMode mode);

    [LoggerMessage(1201, LogLevel.Debug, "device {Device} offline from {Address}: {Reason}")]
    private static partial void LogOffline(ILogger logger, string device, IPAddress address, string reason);

    [LoggerMessage(1202, LogLevel.Warning,
        "device {Device} at {Address} failed to authenticate ({Why}): compare its key with the key file")]
    private static partial void LogAuthenticationFailed(ILogger logger, string device, IPAddress address, string why);

    [LoggerMessage(1203, LogLevel.Warning,
        "address {Address} sends bytes that are not the protocol too often (last: {Reason}): refused for 60 s")]
    private static partial void LogAddressRefused(ILogger logger, IPAddress address, string reason);

    [LoggerMessage(1204, LogLevel.Error,
        "device {Device} at {Address}: {Attack} in a tagged session: this is not noise, somebody alters the stream")]
    private static partial void LogTagFailure(ILogger logger, string device, IPAddress address, string attack);
}
