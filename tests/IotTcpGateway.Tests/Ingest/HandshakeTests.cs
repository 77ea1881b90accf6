using System.Net;

using IotTcpGateway.Buffer;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class HandshakeTests
{
    private static readonly byte[] AnotherKey = new byte[32];

    [Fact]
    public async Task Hello_None_IsWelcomedWithWhatTheListenerGrants()
    {
        await using var rig = new IngestRig(
            o => (o.MaxBody, o.IdleTimeout, o.MaxWindow) = (1000, TimeSpan.FromSeconds(33), 7));
        using RawDevice device = await rig.OpenAsync("pump-7");
        WelcomeReceived welcome = device.Welcome!;
        Assert.Equal(0u, welcome.LastSafe);
        Assert.Equal((7, 1000, 33), (welcome.Window, welcome.LargestBody, welcome.IdleTimeoutSeconds));
        Assert.False(welcome.Tags);
        Assert.Equal(rig.Time.GetUtcNow(), DateTimeOffset.UnixEpoch.AddTicks(welcome.GatewayTime * 10));
        Assert.Equal(1, rig.Ingest.Sessions);
        DeviceNotice notice = Assert.Single(rig.TakeNotices());
        Assert.Equal(("pump-7", true, "1.0", "127.0.0.1"),
            (notice.State.DeviceId, notice.State.IsOnline, notice.State.Firmware, notice.State.Address));
    }

    [Fact]
    public async Task Hello_ClockNotSynchronised_WelcomeHasNoTime()
    {
        await using var rig = new IngestRig();
        rig.IsSynchronised = false;
        using RawDevice device = await rig.OpenAsync();
        Assert.Equal(0, device.Welcome!.GatewayTime);
    }

    [Fact]
    public async Task Hello_Hmac_ProofsOfBothSidesAreRight()
    {
        await using var rig = new IngestRig();
        byte[] key = rig.MakeKey("d1");
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key);
        await device.SendDataAsync(1);
        Assert.Equal(1u, Assert.Single(await rig.TakeAsync(1)).Sequence);
    }

    [Fact]
    public async Task Auth_WrongKeyUnknownAndRevoked_AreNotToBeToldApart()
    {
        await using var rig = new IngestRig();
        rig.MakeKey("known");
        List<(byte[] Body, int Frames)> answers = [];
        foreach (string id in new[] { "known", "unknown" })
        {
            using RawDevice device = await rig.ConnectAsync();
            await device.SendProofAsync(id, AnotherKey);
            answers.Add(((await device.ExpectRefuseAsync(RefuseReason.AuthenticationFailed)).Body, 1));
        }

        Assert.Equal(answers[0].Body, answers[1].Body);
        Assert.Equal(2, rig.Ingest.Metrics.AuthenticationFailures);
        Assert.Empty(rig.TakeNotices());
    }

    [Fact]
    public async Task Auth_KeyRemovedAfterChallenge_IsRefused()
    {
        await using var rig = new IngestRig();
        byte[] key = rig.MakeKey("d1");
        using RawDevice device = await rig.ConnectAsync();
        await device.SendHelloAsync("d1", mode: AuthenticationMode.Hmac);
        byte[] nonce = (await device.ExpectAsync(FrameType.Challenge)).Body;
        rig.Known.Clear();
        var proof = new byte[32];
        // The proof itself does not matter: there is nothing to compare it with.
        Proofs.Device(key, [], nonce, proof);
        await device.SendAsync(FrameType.Auth, 0, proof);
        await device.ExpectRefuseAsync(RefuseReason.AuthenticationFailed);
    }

    [Fact]
    public async Task Hello_NoneForADeviceWithAKey_IsRefused()
    {
        await using var rig = new IngestRig();
        rig.MakeKey("d1");
        using RawDevice device = await rig.ConnectAsync();
        await device.SendHelloAsync("d1");
        await device.ExpectRefuseAsync(RefuseReason.AuthenticationFailed);
    }

    [Theory]
    [InlineData("none", AuthenticationMode.Hmac)]
    [InlineData("hmac", AuthenticationMode.None)]
    [InlineData("hmac", AuthenticationMode.Certificate)]
    [InlineData("certificate", AuthenticationMode.Certificate)]
    [InlineData("none", (AuthenticationMode)9)]
    public async Task Hello_ModeNotAccepted_IsRefusedBeforeTheIdIsLookedAt(string accepted, AuthenticationMode asked)
    {
        await using var rig = new IngestRig(o => o.Authentication = [accepted]);
        rig.MakeKey("d1");
        using RawDevice device = await rig.ConnectAsync();
        await device.SendHelloAsync("d1", mode: asked);
        await device.ExpectRefuseAsync(RefuseReason.AuthenticationModeNotAccepted);
    }

    [Theory]
    [InlineData(".hidden", 1)]
    [InlineData("local", 1)]
    [InlineData("a b", 1)]
    [InlineData("", 1)]
    [InlineData("boot-zero", 0)]
    public async Task Hello_MalformedEvenWithAModeNotAccepted_IsProtocolError(string id, uint boot)
    {
        await using var rig = new IngestRig(o => o.Authentication = ["hmac"]);
        using RawDevice device = await rig.ConnectAsync();
        await device.SendHelloAsync(id, boot);
        await device.ExpectRefuseAsync(RefuseReason.ProtocolError);
    }

    [Theory]
    [InlineData(FrameType.Data)]
    [InlineData(FrameType.Auth)]
    [InlineData(FrameType.Ping)]
    [InlineData(FrameType.Welcome)]
    [InlineData((FrameType)0x77)]
    public async Task FirstFrame_NotHello_IsProtocolError(FrameType type)
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.ConnectAsync();
        await device.SendAsync(type, 1, new byte[32]);
        await device.ExpectRefuseAsync(RefuseReason.ProtocolError);
    }

    [Fact]
    public async Task FirstFrame_ForeignVersion_IsDecidedOnTheHeaderAlone()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.ConnectAsync();
        // Neither the length nor the checksum of a version that is not known can be judged.
        await device.SendAsync(new byte[] { 0xC7, 0x49, 2, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0 });
        await device.ExpectRefuseAsync(RefuseReason.VersionNotSupported);
    }

    [Theory]
    [InlineData(0, 0x00)]
    [InlineData(6, 0x01)]
    [InlineData(6, 0x02)]
    [InlineData(5, 0x02)]
    [InlineData(20, 0x55)]
    public async Task FirstFrame_BadBytes_AreProtocolError(int at, byte value)
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.ConnectAsync();
        byte[] frame = RawDevice.FrameOf(FrameType.Hello, 0, new byte[40]);
        frame[at] = value;
        await device.SendAsync(frame);
        await device.ExpectRefuseAsync(RefuseReason.ProtocolError);
    }

    [Fact]
    public async Task Hello_HighestUsedBelowWhatWasTaken_BootIdIsUsedUp()
    {
        await using var rig = new IngestRig();
        using RawDevice first = await rig.OpenAsync("d1", boot: 5);
        await first.SendDataAsync(1);
        await first.SendDataAsync(2);
        await rig.TakeAsync(2);
        using RawDevice second = await rig.ConnectAsync();
        await second.SendHelloAsync("d1", boot: 5, highestUsed: 1);
        await second.ExpectRefuseAsync(RefuseReason.BootIdReused);
        // Who was refused has not displaced anybody.
        Assert.Empty(await first.PingAsync());
        using RawDevice third = await rig.OpenAsync("d1", boot: 5, highestUsed: 2);
        using RawDevice fourth = await rig.OpenAsync("d1", boot: 6, highestUsed: 0);
    }

    [Fact]
    public async Task Hello_FifthBootId_TheFirstIsForgotten()
    {
        await using var rig = new IngestRig();
        for (uint boot = 1; boot <= 4; boot++)
        {
            using RawDevice device = await rig.OpenAsync("d1", boot);
            await device.SendDataAsync(1);
            rig.Confirm(await rig.TakeAsync(1));
        }

        // The first is used again, so the second is now the one longest unused.
        using (RawDevice again = await rig.OpenAsync("d1", 1, highestUsed: 1))
            Assert.Equal(1u, again.Welcome!.LastSafe);
        using (RawDevice fifth = await rig.OpenAsync("d1", 5))
        {
        }

        using (RawDevice first = await rig.OpenAsync("d1", 1, highestUsed: 1))
            Assert.Equal(1u, first.Welcome!.LastSafe);
        using RawDevice second = await rig.OpenAsync("d1", 2, highestUsed: 0);
        Assert.Equal(0u, second.Welcome!.LastSafe);
    }

    [Fact]
    public async Task Hello_PrecedenceOfReasons_IdentityThenBootThenPlaces()
    {
        await using var rig = new IngestRig(o => o.MaxConnections = 1);
        byte[] key = rig.MakeKey("d1");
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key, boot: 5);
        await device.SendDataAsync(3);
        await rig.TakeAsync(1);
        // The key is gone from the file, the session is still there: none must not displace it.
        rig.Known.TryRemove("d1", out DeviceEntry? known);
        using (RawDevice identity = await rig.ConnectAsync())
        {
            await identity.SendHelloAsync("d1", boot: 5, highestUsed: 1);
            await identity.ExpectRefuseAsync(RefuseReason.AuthenticationFailed);
        }

        rig.Known["d1"] = known!;
        using (RawDevice boot = await rig.ConnectAsync())
        {
            await boot.SendProofAsync("d1", key, boot: 5, highestUsed: 1);
            await boot.ExpectRefuseAsync(RefuseReason.BootIdReused);
        }

        using RawDevice places = await rig.ConnectAsync();
        await places.SendHelloAsync("d2");
        await places.ExpectRefuseAsync(RefuseReason.TooManyConnections);
        Assert.Empty(await device.PingAsync());
    }

    [Fact]
    public async Task Handshake_NothingSent_IsASilentCloseAfterTheTimeout()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.ConnectAsync();
        TimeSpan passed = await rig.PassUntilAsync(device.ExpectEndAsync());
        Assert.True(passed >= TimeSpan.FromSeconds(10), $"{passed}");
    }

    [Fact]
    public async Task Handshake_ByteByByte_TrickleDoesNotExtendIt()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.ConnectAsync();
        Task refused = device.ExpectRefuseAsync(RefuseReason.ProtocolError);
        foreach (byte one in RawDevice.FrameOf(FrameType.Hello, 0, new byte[40])[..20])
        {
            if (refused.IsCompleted)
                break;
            await device.SendAsync(new[] { one });
            await rig.PassUntilAsync(Task.WhenAny(refused, Task.Delay(5)));
        }

        await rig.PassUntilAsync(refused, TimeSpan.FromSeconds(12));
    }

    [Fact]
    public async Task Handshake_FrameTimeoutShorterThanTheHandshakes_EndsTheFrameFirst()
    {
        await using var rig = new IngestRig(
            o => (o.HandshakeTimeout, o.FrameTimeout) = (TimeSpan.FromHours(1), TimeSpan.FromSeconds(5)));
        using RawDevice device = await rig.ConnectAsync();
        await device.SendAsync(new byte[] { 0xC7 });
        TimeSpan passed = await rig.PassUntilAsync(
            device.ExpectRefuseAsync(RefuseReason.ProtocolError), TimeSpan.FromMinutes(1));
        Assert.True(passed >= TimeSpan.FromSeconds(5), $"{passed}");
    }

    [Fact]
    public async Task Hello_HelloAndDataInOneSegment_BothAreTaken()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.ConnectAsync();
        using RawDevice other = await rig.OpenAsync("other");
        var hello = new byte[128];
        int bytes = new Hello
        {
            Authentication = AuthenticationMode.None,
            Features = Features.None,
            BootId = 1,
            HighestUsed = 0,
            DeviceNonce = new byte[16],
            DeviceId = "eager"u8,
            Firmware = default,
        }.WriteBody(hello);
        // Larger than what is held before WELCOME.
        byte[] data = RawDevice.FrameOf(FrameType.Data, 1, RawDevice.DataBody(paddingBytes: 3_000));
        await device.SendAsync((byte[])[.. RawDevice.FrameOf(FrameType.Hello, 0, hello.AsSpan(0, bytes)), .. data]);
        await device.ExpectAsync(FrameType.Welcome);
        Assert.Equal("eager", Assert.Single(await rig.TakeAsync(1)).Device);
    }

    [Fact]
    public async Task Accept_AddressNotOnTheList_IsRefused()
    {
        await using var rig = new IngestRig(o => o.AllowFrom = ["10.0.0.0/8", "127.0.0.2/32"]);
        using RawDevice device = await rig.ConnectAsync();
        // What it sends before it reads must not eat the REFUSE.
        await device.SendHelloAsync("d1");
        await device.ExpectRefuseAsync(RefuseReason.AddressNotAllowed);
        using RawDevice allowed = await RawDevice.OpenAsync(rig.Endpoint, "d2", from: IPAddress.Parse("127.0.0.2"));
    }

    [Fact]
    public async Task Accept_TooManyBadFrames_AddressIsRefusedForAMinuteAndOthersAreNot()
    {
        await using var rig = new IngestRig(o => o.BadFramesPerMinute = 3);
        for (int i = 0; i < 4; i++)
        {
            using RawDevice bad = await rig.ConnectAsync();
            await bad.SendAsync("GET / HTTP/1.1\r\n\r\n"u8.ToArray());
            await bad.ExpectRefuseAsync(RefuseReason.ProtocolError);
        }

        using (RawDevice refused = await rig.ConnectAsync())
        {
            ReceivedFrame refuse = await refused.ExpectRefuseAsync(RefuseReason.RateLimited);
            Assert.Equal(60, BitConverter.ToUInt16(refuse.Body, 1));
        }

        using (RawDevice other = await RawDevice.OpenAsync(rig.Endpoint, "d2", from: IPAddress.Parse("127.0.0.2")))
        {
        }

        Assert.Single(rig.Log, line => line.Id.Id == 1203);
        rig.Time.Advance(TimeSpan.FromSeconds(61));
        using RawDevice again = await rig.OpenAsync();
    }

    [Fact]
    public async Task Accept_ProbesThatSendNothing_AreNotCountedAgainstTheAddress()
    {
        await using var rig = new IngestRig(o => o.BadFramesPerMinute = 1);
        for (int i = 0; i < 5; i++)
        {
            using RawDevice probe = await rig.ConnectAsync();
            await rig.PassUntilAsync(probe.ExpectEndAsync());
        }

        for (int i = 0; i < 5; i++)
        {
            using RawDevice probe = await rig.ConnectAsync();
        }

        using RawDevice device = await rig.OpenAsync();
    }

    [Fact]
    public async Task Accept_TooManyUnauthenticated_FurtherOnesAreRefusedUntilOneGoes()
    {
        await using var rig = new IngestRig(o => o.MaxUnauthenticated = 2);
        using RawDevice one = await rig.ConnectAsync();
        using RawDevice two = await rig.ConnectAsync();
        using (RawDevice three = await rig.ConnectAsync())
            await three.ExpectRefuseAsync(RefuseReason.TooManyConnections);
        await one.SendHelloAsync("d1");
        await one.ExpectAsync(FrameType.Welcome);
        using RawDevice four = await rig.OpenAsync("d2");
    }

    [Fact]
    public async Task Accept_OneAddressWithManyHandshakes_LeavesHalfOfThePlacesToOthers()
    {
        await using var rig = new IngestRig(o => o.MaxUnauthenticated = 40);
        List<RawDevice> silent = [];
        for (int i = 0; i < 20; i++)
            silent.Add(await rig.ConnectAsync());
        await IngestRig.UntilAsync(() => rig.Ingest.Connections == 20);
        using (RawDevice refused = await rig.ConnectAsync())
            await refused.ExpectRefuseAsync(RefuseReason.TooManyConnections);
        using RawDevice other = await RawDevice.OpenAsync(rig.Endpoint, "d2", from: IPAddress.Parse("127.0.0.2"));
        silent.ForEach(device => device.Dispose());
    }

    [Fact]
    public async Task Welcome_ListenerIsFull_StillTakesADeviceThatSupersedesItsOwnConnection()
    {
        await using var rig = new IngestRig(o => o.MaxConnections = 1);
        using RawDevice one = await rig.OpenAsync("d1");
        using (RawDevice other = await rig.ConnectAsync())
        {
            await other.SendHelloAsync("d2");
            await other.ExpectRefuseAsync(RefuseReason.TooManyConnections);
        }

        using RawDevice again = await rig.OpenAsync("d1");
        await one.ExpectByeAsync(ByeReason.Superseded);
        Assert.Contains(rig.Log, line => line.Id.Id == 1205);
    }

    [Fact]
    public async Task Welcome_PerAddressLimit_IsKept()
    {
        await using var rig = new IngestRig(o => o.MaxConnectionsPerAddress = 1);
        using RawDevice one = await rig.OpenAsync("d1");
        using RawDevice two = await rig.ConnectAsync();
        await two.SendHelloAsync("d2");
        await two.ExpectRefuseAsync(RefuseReason.TooManyConnections);
        using RawDevice other = await RawDevice.OpenAsync(rig.Endpoint, "d2", from: IPAddress.Parse("127.0.0.2"));
    }

    [Fact]
    public async Task Welcome_TooManyDevices_IsRefusedAndKnownOnesAreNot()
    {
        await using var rig = new IngestRig(devices: d => d.MaxDevices = 1);
        using (RawDevice one = await rig.OpenAsync("d1"))
        {
        }

        using (RawDevice two = await rig.ConnectAsync())
        {
            await two.SendHelloAsync("d2");
            await two.ExpectRefuseAsync(RefuseReason.TooManyConnections);
        }

        using RawDevice again = await rig.OpenAsync("d1");
    }
}
