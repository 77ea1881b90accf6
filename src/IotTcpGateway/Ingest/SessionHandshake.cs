using System.Net;
using System.Security.Cryptography;
using System.Text;

using IotTcpGateway.Buffer;
using IotTcpGateway.Keys;
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
    private ulong keyPrint;
    private bool tookOver;
    private long turn;

    /// <summary>Whence it came, and as what; after HELLO.</summary>
    public SessionOrigin Origin => new(mode, Address.ToString(), firmware);

    private Step TakeHello(ReadOnlySpan<byte> body)
    {
        if (!Hello.TryRead(body, out Hello hello))
        {
            context.Metrics.FrameRejected("malformed-hello");
            return End(SessionEnding.BadHandshake("malformed-hello"));
        }

        mode = hello.Authentication;
        if (!listener.Accepts(mode))
            return End(SessionEnding.ModeNotAccepted);

        deviceId = Encoding.UTF8.GetString(hello.DeviceId);
        firmware = Encoding.UTF8.GetString(hello.Firmware);
        bootId = hello.BootId;
        highestUsed = hello.HighestUsed;
        if (context.Attempts.Wait(Address, deviceId) is { Ticks: > 0 } wait)
            return End(SessionEnding.BackOff(wait));
        if (mode == AuthenticationMode.None)
            return ComeIn();
        if (mode == AuthenticationMode.Certificate)
            return TakeCertificate();

        wantsTags = hello.Features.HasFlag(Features.TaggedFrames);
        helloBody = body.ToArray();
        gatewayNonce = RandomNumberGenerator.GetBytes(ProtocolConstants.NonceBytes);
        outbox.Send(FrameType.Challenge, 0, gatewayNonce);
        return Continue(State.AwaitsAuth);
    }

    // Without a key of its own: by its certificate, which said its name, or by nothing but its word.
    private Step ComeIn()
    {
        switch (Entrance.Judge(context.FindDevice(deviceId), mode, enrols: context.Pending is not null))
        {
            case EntranceResult.Granted:
                return Continue(State.AwaitsPlace);
            case EntranceResult.Waits:
                if (context.Pending!.Asked(deviceId, mode, Address, firmware) && listener.Log.Passes())
                    LogWaitsForApproval(context.Logger, deviceId, Address);
                return End(SessionEnding.NotApproved);
            default:
                return End(Unauthenticated($"{mode}, for a device that is revoked or has to show who it is".ToLowerInvariant()));
        }
    }

    private Step TakeAuth(ReadOnlySpan<byte> body)
    {
        if (body.Length != ProtocolConstants.ProofBytes)
        {
            context.Metrics.FrameRejected("malformed-auth");
            return End(SessionEnding.BadHandshake("malformed-auth"));
        }

        // An unknown device is compared with keys that nobody has: same work, same time, same answer.
        DeviceEntry? known = context.FindDevice(deviceId);
        ReadOnlySpan<byte> dummy = context.DummyKeyOf(deviceId);
        bool isNew = IsProofOf(known?.Key is { } newer ? newer : dummy, body);
        bool isFormer = IsProofOf(known?.Former?.Key is { } former ? former : dummy, body);
        key = isNew ? known?.Key : isFormer ? known?.Former?.Key : null;
        if (key is null)
            return End(Unauthenticated(known?.Key is null ? "it has no key" : "its key is another"));
        keyPrint = DeviceEntry.PrintOf(key);
        IsAuthenticated = true;
        context.Attempts.Succeeded(Address, deviceId);
        return Continue(State.AwaitsPlace);
    }

    private bool IsProofOf(ReadOnlySpan<byte> candidate, ReadOnlySpan<byte> proof)
    {
        Span<byte> right = stackalloc byte[ProtocolConstants.ProofBytes];
        Proofs.Device(candidate, helloBody, gatewayNonce, right);
        return Proofs.AreEqual(right, proof);
    }

    private SessionEnding Unauthenticated(string why)
    {
        context.Metrics.AuthenticationFailed();
        context.Attempts.Failed(Address, deviceId);
        if (listener.Log.Passes())
            LogAuthenticationFailed(context.Logger, deviceId, Address, why);
        return SessionEnding.AuthenticationFailed;
    }

    // Takes the device over from an older session, which has stopped reading before anything is promised here. It is
    // not interrupted, so that nobody is welcomed whose session has ended.
    private async ValueTask<bool> EnterAsync()
    {
        if (await ClaimAsync().ConfigureAwait(false) is { } refused)
        {
            ending = refused;
            return false;
        }

        SendWelcome();
        return true;
    }

    private async ValueTask<SessionEnding?> ClaimAsync()
    {
        ClaimResult result = context.Devices.Look(this, bootId, highestUsed, out Session? current);
        if (result != ClaimResult.Granted)
            return RefusalOf(result);
        if (!listener.Admission.TryAuthenticated(place!, replacesOwn: current?.IsOn(listener) ?? false))
        {
            if (listener.Log.Passes())
                LogNoPlace(context.Logger, listener.Options.Name, Address, deviceId);
            return SessionEnding.TooMany;
        }

        TakePermissions(context.FindDevice(deviceId));
        result = context.Devices.Claim(this, bootId, highestUsed, out device, out Session? older, out turn);
        if (result != ClaimResult.Granted)
            return RefusalOf(result);
        if (older is not null)
        {
            await older.SupersedeAsync().ConfigureAwait(false);
            if (older.IsOpen && !older.Address.Equals(Address) && listener.Log.Passes())
                LogTakenOver(context.Logger, deviceId, older.Address, Address);
            tookOver = older.IsOpen || older.tookOver;
        }

        if (Volatile.Read(ref stopRequested) is { } stop)
            return stop;
        stream = context.Devices.StreamOf(device!, bootId, permissions.Priority ?? limits.Priority);
        // The older session may have taken more before it stopped.
        return highestUsed < stream.HighestTaken ? SessionEnding.BootIdReused : null;
    }

    private SessionEnding RefusalOf(ClaimResult result) => result switch
    {
        ClaimResult.NotAllowed => Unauthenticated("none, against a session that authenticated"),
        ClaimResult.BootIdReused => SessionEnding.BootIdReused,
        _ => SessionEnding.TooMany,
    };

    private void SendWelcome()
    {
        context.SessionBegan();
        uint lastSafe = stream!.SafeSequence;
        ushort window = listener.Window();
        bool tags = wantsTags && IsAuthenticated;
        Span<byte> body = stackalloc byte[Welcome.BodyBytes];
        new Welcome
        {
            GatewayTime = context.Clock.UnixMicrosecondsOrZero,
            LastSafeSequence = lastSafe,
            Window = window,
            LargestBody = (ushort)limits.MaxBody,
            IdleTimeoutSeconds = (ushort)Math.Clamp(limits.IdleTimeout.TotalSeconds, 1, ushort.MaxValue),
            FeaturesGranted = tags ? Features.TaggedFrames : Features.None,
        }.WriteBody(body);
        FrameTagger? fromGateway = mode == AuthenticationMode.Hmac ? Prove(body, tags) : null;
        state = State.Open;
        context.Buffer.SetOwner(stream, outbox);
        context.Board.SetStatus(StateOf(isOnline: true, reason: ""), turn);
        outbox.SendWelcome(body, stream, lastSafe, window, fromGateway, listener.Window);
        // Afterwards, so that no COMMAND comes before WELCOME.
        context.Commands.Attach(deviceId, this);
        LogOnline(context.Logger, deviceId, Address, mode);
        EndIfKeyChanged();
    }

    private FrameTagger? Prove(Span<byte> welcome, bool tags)
    {
        Proofs.Gateway(
            key, helloBody, gatewayNonce, welcome[..Welcome.BytesBeforeProof], welcome[Welcome.BytesBeforeProof..]);
        if (!tags)
            return null;
        Span<byte> sessionKey = stackalloc byte[ProtocolConstants.ProofBytes];
        Proofs.SessionKey(key, helloBody, gatewayNonce, sessionKey);
        fromDevice = new FrameTagger(sessionKey, FrameDirection.FromDevice);
        var fromGateway = new FrameTagger(sessionKey, FrameDirection.FromGateway);
        CryptographicOperations.ZeroMemory(sessionKey);
        return fromGateway;
    }

    /// <summary>
    /// The key file says something else of the device now: the session goes on under that, or ends if it does not cover
    /// it any more.
    /// </summary>
    public void KnownChanged(DeviceEntry? known)
    {
        if (IsCoveredBy(known))
            TakePermissions(known);
        else
            Stop(SessionEnding.Revoked);
    }

    private bool IsCoveredBy(DeviceEntry? known) => known is null
        ? mode != AuthenticationMode.Hmac && context.Pending is null
        : known.Covers(keyPrint, Entrance.ModeOf(mode));

    private void TakePermissions(DeviceEntry? known) =>
        Volatile.Write(ref permissions, known?.Permissions ?? DevicePermissions.Unlimited);

    // Whoever changes the key file ends the sessions that it no longer covers: those that are seen to be open. This one
    // became so just now, so it looks for itself.
    private void EndIfKeyChanged()
    {
        Interlocked.MemoryBarrier();
        KnownChanged(context.FindDevice(deviceId));
        // What is needed no more goes; the key stays with the key file alone.
        helloBody = gatewayNonce = [];
        key = null;
    }

    private DeviceState StateOf(bool isOnline, string reason) => new(
        deviceId,
        isOnline,
        reason,
        firmware,
        Address.ToString(),
        context.Clock.IsSynchronised ? context.Clock.UnixMilliseconds : 0,
        Channels: null);

    private Step Continue(State next)
    {
        state = next;
        return Step.Taken;
    }

    [LoggerMessage(1200, LogLevel.Debug, "device {Device} online from {Address}, authentication {Mode}")]
    private static partial void LogOnline(ILogger logger, string device, IPAddress address, AuthenticationMode mode);

    [LoggerMessage(1202, LogLevel.Warning,
        "device {Device} at {Address} failed to authenticate ({Why}): \"iotgw device list\" shows how it may come in")]
    private static partial void LogAuthenticationFailed(ILogger logger, string device, IPAddress address, string why);

    [LoggerMessage(1207, LogLevel.Warning,
        "device {Device} is spoken for from {NewAddress} now, and was from {Address}: if it has not moved, two have its key")]
    private static partial void LogTakenOver(ILogger logger, string device, IPAddress address, IPAddress newAddress);

    [LoggerMessage(1208, LogLevel.Warning,
        "device {Device} at {Address} is not known and waits: \"iotgw device approve {Device}\" lets it in")]
    private static partial void LogWaitsForApproval(ILogger logger, string device, IPAddress address);

    [LoggerMessage(1205, LogLevel.Warning,
        "listener {Listener} has no place for device {Device} at {Address}: "
        + "raise maxConnections or maxConnectionsPerAddress")]
    private static partial void LogNoPlace(ILogger logger, string listener, IPAddress address, string device);
}
