using System.Net;
using System.Text;

using IotTcpGateway.Commands;
using IotTcpGateway.Ingest;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

/// <summary>What the key file says of a device, in force on its sessions.</summary>
public class IdentityTests
{
    private static readonly byte[] AnotherKey = new byte[32];
    private static readonly IPAddress Elsewhere = IPAddress.Parse("127.0.0.2");

    [Fact]
    public async Task Rotation_BothKeysWorkUntilTheOverlapEnds()
    {
        await using var rig = new IngestRig();
        byte[] old = rig.MakeKey("d1");
        using RawDevice first = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", old, boot: 1);
        DeviceEntry rotated = rig.Know("d1") with { Former = new FormerKey(old, DateTimeOffset.MaxValue) };
        rig.Known["d1"] = rotated;
        rig.Ingest.KnownChanged(Of("d1"));
        Assert.Empty(await first.PingAsync());
        using (RawDevice byOld = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", old, boot: 2))
            await first.ExpectByeAsync(ByeReason.Superseded);
        using RawDevice byNew = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", rotated.Key!, boot: 3);
        rig.Known["d1"] = rotated with { Former = null };
        rig.Ingest.KnownChanged(Of("d1"));
        Assert.Empty(await byNew.PingAsync());
        using RawDevice late = await rig.ConnectAsync();
        await late.SendProofAsync("d1", old, boot: 4);
        await late.ExpectRefuseAsync(RefuseReason.AuthenticationFailed);
    }

    [Fact]
    public async Task EndOfAnOverlap_EndsTheSessionOfTheOldKey()
    {
        await using var rig = new IngestRig();
        byte[] old = rig.MakeKey("d1");
        DeviceEntry rotated = rig.Know("d1") with { Former = new FormerKey(old, DateTimeOffset.MaxValue) };
        rig.Known["d1"] = rotated;
        using RawDevice byOld = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", old);
        await byOld.PingAsync();
        rig.Known["d1"] = rotated with { Former = null };
        rig.Ingest.KnownChanged(Of("d1"));
        await byOld.ExpectByeAsync(ByeReason.Normal);
        await IngestRig.UntilAsync(() => rig.Log.Any(l => l.Id.Id == 1209));
    }

    [Fact]
    public async Task Revoked_GetsInByNoModeAndIsAnsweredLikeAnUnknownOne()
    {
        await using var rig = new IngestRig();
        byte[] key = rig.MakeKey("d1");
        rig.Known["d1"] = rig.Known["d1"] with { Key = null, Revoked = rig.Time.GetUtcNow() };
        using RawDevice none = await rig.ConnectAsync();
        await none.SendHelloAsync("d1");
        ReceivedFrame byNone = await none.ExpectRefuseAsync(RefuseReason.AuthenticationFailed);
        List<byte[]> answers = [];
        foreach (string id in new[] { "d1", "nobody" })
        {
            using RawDevice hmac = await rig.ConnectAsync();
            await hmac.SendProofAsync(id, key);
            answers.Add((await hmac.ExpectRefuseAsync(RefuseReason.AuthenticationFailed)).Body);
        }

        Assert.Equal(answers[0], answers[1]);
        Assert.Equal(answers[0], byNone.Body);
    }

    [Fact]
    public async Task FailedProofs_DelayThatDeviceFromThatAddressAlone()
    {
        await using var rig = new IngestRig();
        byte[] key = rig.MakeKey("d1");
        byte[] other = rig.MakeKey("d2");
        for (int attempt = 0; attempt < 3; attempt++)
        {
            using RawDevice wrong = await rig.ConnectAsync();
            await wrong.SendProofAsync("d1", AnotherKey);
            await wrong.ExpectRefuseAsync(RefuseReason.AuthenticationFailed);
        }

        // The right key has to wait as well: the address cannot be told from that of the guesser.
        using (RawDevice early = await rig.ConnectAsync())
        {
            await early.SendHelloAsync("d1", mode: AuthenticationMode.Hmac);
            ReceivedFrame refused = await early.ExpectRefuseAsync(RefuseReason.RateLimited);
            Assert.Equal([1, 0], refused.Body[1..3]);
        }

        using RawDevice elsewhere = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key, from: Elsewhere);
        using RawDevice another = await RawDevice.OpenHmacAsync(rig.Endpoint, "d2", other);
        rig.Time.Advance(TimeSpan.FromSeconds(1));
        using RawDevice after = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key, boot: 2);
        Assert.Empty(await after.PingAsync());
    }

    [Fact]
    public async Task Enrolment_UnknownWaitsUntilItIsKnown()
    {
        await using var rig = new IngestRig(devices: d => d.Enrolment = true);
        using (RawDevice unknown = await rig.ConnectAsync())
        {
            await unknown.SendHelloAsync("new");
            await unknown.ExpectRefuseAsync(RefuseReason.AuthenticationFailed);
        }

        PendingDevice waiting = Assert.Single(rig.Ingest.PendingDevices());
        Assert.Equal(("new", AuthenticationMode.None), (waiting.DeviceId, waiting.Mode));
        Assert.Contains(rig.Log, l => l.Id.Id == 1208);
        rig.Know("new", DeviceMode.None);
        rig.Ingest.KnownChanged(Of("new"));
        Assert.Empty(rig.Ingest.PendingDevices());
        using RawDevice approved = await rig.OpenAsync("new");
        await approved.PingAsync();
        // And whoever is forgotten again has to ask again.
        rig.Known.Clear();
        rig.Ingest.KnownChanged(Of("new"));
        await approved.ExpectByeAsync(ByeReason.Normal);
    }

    [Fact]
    public async Task Channels_OnlyThosePermittedAreTaken()
    {
        await using var rig = new IngestRig();
        byte[] key = rig.Know("d1", permissions: new DevicePermissions { Channels = ["pump/+", "ch9"] }).Key!;
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key);
        await device.DescribeAsync((1, "pump/t"), (2, "door"));
        await device.SendDataAsync(1, channel: 1);
        await device.SendDataAsync(2, channel: 2);
        ReceivedFrame nack = await device.ExpectAsync(FrameType.Nack);
        Assert.Equal((2u, (byte)NackReason.ChannelNotAllowed), (nack.Sequence, nack.Reason));
        Assert.Equal("door is not allowed", Encoding.UTF8.GetString(nack.Body.AsSpan(1)));
        // Not described, and known by its number.
        await device.SendDataAsync(3, channel: 9);
        await device.SendDataAsync(4, channel: 8);
        Assert.Equal(4u, (await device.ExpectAsync(FrameType.Nack)).Sequence);
        // A name that moves to another number takes its permission with it.
        await device.DescribeAsync((2, "pump/u"));
        await device.SendDataAsync(5, channel: 2);
        Assert.Equal([1u, 3u, 5u], (await rig.TakeAsync(3)).Select(r => r.Sequence));
        Assert.Equal(2, rig.Count("iotgw_frames_rejected_total{reason=channel-not-allowed}"));
    }

    [Fact]
    public async Task Channels_ChangedInTheFile_AreInForceOnTheLiveSession()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", rig.MakeKey("d1"));
        await device.SendDataAsync(1, channel: 1);
        await rig.TakeAsync(1);
        rig.Known["d1"] = rig.Known["d1"] with { Permissions = new DevicePermissions { Channels = [] } };
        rig.Ingest.KnownChanged(Of("d1"));
        await device.SendDataAsync(2, channel: 1);
        Assert.Equal(2u, (await device.ExpectAsync(FrameType.Nack)).Sequence);
    }

    [Fact]
    public async Task Commands_OnlyThosePermittedReachTheDevice()
    {
        await using var rig = new IngestRig();
        byte[] key = rig.Know("d1", permissions: new DevicePermissions { Commands = ["valve/+"] }).Key!;
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key);
        await device.PingAsync();
        rig.Commands.Post(new CommandRequest("d1", "reboot", [], null, null));
        Assert.True(rig.Commands.Answers.TryRead(out CommandAnswer? refused));
        Assert.Contains("may not be sent", refused.Error, StringComparison.Ordinal);
        rig.Commands.Post(new CommandRequest("d1", "valve/2", [7], null, null));
        await device.ExpectAsync(FrameType.Command);
    }

    [Fact]
    public async Task RateAndPriority_AreTheDevicesOwn()
    {
        await using var rig = new IngestRig(o => (o.FramesPerSecond, o.Priority) = (1000, 1));
        byte[] key = rig.Know("d1", permissions: new DevicePermissions { FramesPerSecond = 2, Priority = 3 }).Key!;
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key);
        for (uint sequence = 1; sequence <= 3; sequence++)
            await device.SendDataAsync(sequence);
        TakenRecord[] two = await rig.TakeAsync(2);
        Assert.Null(rig.TryTake());
        rig.Time.Advance(TimeSpan.FromMilliseconds(500));
        await rig.TakeAsync(1);
        Assert.Equal(3, rig.Buffer.Open("d1", 1, priority: 1).Priority);
        Assert.Equal([1u, 2u], two.Select(r => r.Sequence));
    }

    [Fact]
    public async Task SeenDevices_TellWhenceAndWhatCame()
    {
        await using var rig = new IngestRig();
        using RawDevice there = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", rig.MakeKey("d1"));
        using (RawDevice gone = await rig.OpenAsync("d2"))
            await gone.PingAsync();
        await IngestRig.UntilAsync(() => rig.Ingest.SeenDevices().Count(d => d.IsOnline) == 1);
        DeviceSighting[] seen = [.. rig.Ingest.SeenDevices().OrderBy(d => d.DeviceId)];
        Assert.Equal(["d1", "d2"], seen.Select(d => d.DeviceId));
        Assert.Equal([AuthenticationMode.Hmac, AuthenticationMode.None], seen.Select(d => d.Mode));
        Assert.All(seen, d => Assert.Equal("127.0.0.1", d.Address));
    }

    [Fact]
    public async Task Takeover_FromAnotherAddress_IsLogged()
    {
        await using var rig = new IngestRig();
        byte[] key = rig.MakeKey("d1");
        using RawDevice first = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key);
        using RawDevice again = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key, boot: 2);
        Assert.DoesNotContain(rig.Log, l => l.Id.Id == 1207);
        using RawDevice elsewhere = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key, boot: 3, from: Elsewhere);
        Assert.Contains(rig.Log, l => l.Id.Id == 1207);
    }

    [Fact]
    public async Task MaxDevices_GuestsShareWhatTheKeyFileLeaves()
    {
        await using var rig = new IngestRig(devices: d => d.MaxDevices = 3);
        byte[] key = rig.MakeKey("keyed");
        using RawDevice one = await rig.OpenAsync("guest-1");
        using RawDevice two = await rig.OpenAsync("guest-2");
        using (RawDevice three = await rig.ConnectAsync())
        {
            await three.SendHelloAsync("guest-3");
            await three.ExpectRefuseAsync(RefuseReason.TooManyConnections);
        }

        using RawDevice keyed = await RawDevice.OpenHmacAsync(rig.Endpoint, "keyed", key);
        // Whom the file no longer knows is a guest too.
        rig.Known.Clear();
        rig.Ingest.KnownChanged(Of("keyed"));
        byte[] other = rig.MakeKey("other");
        using RawDevice last = await RawDevice.OpenHmacAsync(rig.Endpoint, "other", other);
        Assert.Empty(await last.PingAsync());
    }

    [Fact]
    public async Task CrowdedOut_IsToldAndCounted()
    {
        await using var rig = new IngestRig(o => o.MaxUnauthenticated = 2);
        using RawDevice silent = await rig.ConnectAsync();
        using RawDevice silentToo = await rig.ConnectAsync();
        await IngestRig.UntilAsync(() => rig.Ingest.Connections == 2);
        rig.Time.Advance(TimeSpan.FromMilliseconds(249));
        using (RawDevice early = await rig.ConnectAsync())
            await early.ExpectRefuseAsync(RefuseReason.TooManyConnections);
        rig.Time.Advance(TimeSpan.FromMilliseconds(1));
        using RawDevice good = await rig.OpenAsync("d1");
        await silent.ExpectRefuseAsync(RefuseReason.TooManyConnections);
        await IngestRig.UntilAsync(() => rig.Count("iotgw_connections_closed_total{reason=crowded-out}") == 1);
    }

    private static HashSet<string> Of(string deviceId) => [deviceId];
}
