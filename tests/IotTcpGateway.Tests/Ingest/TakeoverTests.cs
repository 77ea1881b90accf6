using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class TakeoverTests
{
    [Fact]
    public async Task SameDeviceTwice_NewestWinsAndNoOfflineIsShown()
    {
        await using var rig = new IngestRig();
        using RawDevice older = await rig.OpenAsync("d1");
        using RawDevice newer = await rig.OpenAsync("d1");
        await older.ExpectByeAsync(ByeReason.Superseded);
        await IngestRig.UntilAsync(() => rig.Ingest.Sessions == 1);
        Assert.All(rig.TakeNotices(), notice => Assert.True(notice.State.IsOnline));
        Assert.Empty(await newer.PingAsync());
        Assert.Equal(1, rig.Board.OnlineCount);
    }

    [Fact]
    public async Task SameDeviceTwice_WhatTheOlderConnectionSentIsOwedToTheDevice()
    {
        await using var rig = new IngestRig();
        using RawDevice older = await rig.OpenAsync("d1");
        await older.SendDataAsync(1);
        await older.SendDataAsync(2);
        TakenRecord[] taken = await rig.TakeAsync(2);
        using RawDevice newer = await rig.OpenAsync("d1", highestUsed: 2);
        Assert.Equal(0u, newer.Welcome!.LastSafe);
        await newer.SendDataAsync(1);
        await newer.SendDataAsync(2);
        await newer.PingAsync();
        rig.Confirm(taken);
        await newer.ExpectAckAsync(2);
        Assert.Equal(2, rig.Ingest.Metrics.Duplicates);
        Assert.Equal(0, rig.Buffer.Records);
        Assert.Null(rig.TryTake());
    }

    [Fact]
    public async Task SameDeviceTwice_NewerIsNotWelcomedWhileTheOlderStillTakes()
    {
        await using var rig = new IngestRig();
        using var mayGoOn = new ManualResetEventSlim();
        var takes = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        rig.Buffer.Added += () =>
        {
            takes.TrySetResult();
            mayGoOn.Wait(IngestRig.HangGuard);
        };
        using RawDevice older = await rig.OpenAsync("d1");
        await older.SendAsync((byte[])[
            .. RawDevice.FrameOf(FrameType.Data, 1, RawDevice.DataBody()),
            .. RawDevice.FrameOf(FrameType.Data, 2, RawDevice.DataBody())]);
        await takes.Task;
        using RawDevice newer = await rig.ConnectAsync();
        await newer.SendHelloAsync("d1", highestUsed: 2);
        using (RawDevice other = await rig.OpenAsync("other"))
            await other.PingAsync();
        Assert.False(newer.HasBytes);
        mayGoOn.Set();
        await newer.ExpectAsync(FrameType.Welcome);
        await older.ExpectByeAsync(ByeReason.Superseded);
        Assert.Equal(2, rig.Ingest.Metrics.FramesReceived);
    }

    [Fact]
    public async Task NoneAgainstAnAuthenticatedSession_IsRefused()
    {
        await using var rig = new IngestRig();
        byte[] key = rig.MakeKey("d1");
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key);
        // The session has looked at the keys for the last time.
        await device.PingAsync();
        rig.Known.Clear();
        using RawDevice none = await rig.ConnectAsync();
        await none.SendHelloAsync("d1");
        await none.ExpectRefuseAsync(RefuseReason.AuthenticationFailed);
        Assert.Empty(await device.PingAsync());
    }

    [Fact]
    public async Task HmacAgainstANoneSession_Displaces()
    {
        await using var rig = new IngestRig();
        using RawDevice none = await rig.OpenAsync("d1");
        // The session has looked at the keys for the last time.
        await none.PingAsync();
        using RawDevice hmac = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", rig.MakeKey("d1"));
        await none.ExpectByeAsync(ByeReason.Superseded);
    }

    [Fact]
    public async Task ConnectionLost_DeviceIsOfflineAndCustodyStays()
    {
        await using var rig = new IngestRig();
        using (RawDevice device = await rig.OpenAsync("d1"))
        {
            await device.SendDataAsync(1);
            await rig.TakeAsync(1);
            rig.TakeNotices();
            device.Reset();
        }

        await IngestRig.UntilAsync(() => rig.Board.OnlineCount == 0);
        DeviceNotice notice = Assert.Single(rig.TakeNotices());
        Assert.Equal((false, "lost"), (notice.State.IsOnline, notice.State.Reason));
        Assert.Equal(1, rig.Buffer.Records);
    }

    [Fact]
    public async Task Bye_EndsTheConnectionWithoutAnAnswer()
    {
        await using var rig = new IngestRig();
        using RawDevice device = await rig.OpenAsync("d1");
        await device.SendAsync(FrameType.Bye, 7, new byte[] { 0 });
        await device.ExpectEndAsync();
        await IngestRig.UntilAsync(() => rig.Board.OnlineCount == 0);
        Assert.Equal("bye", rig.Board.Snapshot()[0].Reason);
    }

    [Fact]
    public async Task ManyReconnectsAtOnce_OneSessionIsLeftAndItWorks()
    {
        await using var rig = new IngestRig();
        var devices = await Task.WhenAll(Enumerable.Range(0, 12).Select(async _ =>
        {
            RawDevice device = await rig.ConnectAsync();
            await device.SendHelloAsync("d1");
            return device;
        }));
        List<ReceivedFrame>[] heard = [.. devices.Select(_ => new List<ReceivedFrame>())];
        Task[] listening = [.. devices.Select((device, i) => Task.Run(async () =>
        {
            while (await device.ReadAsync() is { } frame)
            {
                lock (heard)
                    heard[i].Add(frame);
            }
        }))];
        await IngestRig.UntilAsync(() => listening.Count(task => task.IsCompleted) == devices.Length - 1);
        int alive = Array.FindIndex(listening, task => !task.IsCompleted);
        await devices[alive].SendAsync(FrameType.Ping, 5, Array.Empty<byte>());
        await IngestRig.UntilAsync(() =>
        {
            lock (heard)
                return heard[alive].Count == 2 && heard[alive][1].Type == FrameType.Pong;
        });
        Assert.Equal(1, rig.Board.OnlineCount);
        await IngestRig.UntilAsync(() => rig.Ingest.Sessions == 1);
        // Welcomed and superseded, or superseded before it came to that.
        Assert.All(
            heard.Where((_, i) => i != alive),
            frames => Assert.True(frames[^1].Type is FrameType.Bye or FrameType.Refuse));
        devices[alive].HalfClose();
        await Task.WhenAll(listening);
        foreach (RawDevice device in devices)
            device.Dispose();
    }

    [Fact]
    public async Task KnownChanged_RevokedAndRotated_SessionsEndAndOthersStay()
    {
        await using var rig = new IngestRig();
        using RawDevice kept = await RawDevice.OpenHmacAsync(rig.Endpoint, "kept", rig.MakeKey("kept"));
        using RawDevice revoked = await RawDevice.OpenHmacAsync(rig.Endpoint, "revoked", rig.MakeKey("revoked"));
        using RawDevice none = await rig.OpenAsync("none");
        using RawDevice added = await rig.OpenAsync("added");
        foreach (RawDevice device in new[] { kept, revoked, none, added })
            await device.PingAsync();
        rig.Known["revoked"] = rig.Known["revoked"] with { Key = null, Revoked = rig.Time.GetUtcNow() };
        rig.Know("added");
        rig.Ingest.KnownChanged(new HashSet<string> { "revoked", "added" });
        await revoked.ExpectByeAsync(ByeReason.Normal);
        await added.ExpectByeAsync(ByeReason.Normal);
        Assert.Empty(await kept.PingAsync());
        Assert.Empty(await none.PingAsync());
    }

    [Fact]
    public async Task KnownChanged_WhileADeviceProvesItself_EndsItsSession()
    {
        await using var rig = new IngestRig();
        byte[] key = rig.MakeKey("d1");
        rig.KeyFound = () =>
        {
            rig.KeyFound = null;
            rig.Known.Clear();
            rig.Ingest.KnownChanged(new HashSet<string> { "d1" });
        };
        using RawDevice device = await RawDevice.OpenHmacAsync(rig.Endpoint, "d1", key);
        await device.ExpectByeAsync(ByeReason.Normal);
    }

    [Fact]
    public async Task Unseen_NoKeyForSevenDays_IsForgottenWithItsTopics()
    {
        await using var rig = new IngestRig(devices: d => d.MaxDevices = 3);
        byte[] key = rig.MakeKey("keyed");
        rig.MakeKey("revoked");
        using (RawDevice one = await rig.OpenAsync("gone"))
        using (RawDevice two = await RawDevice.OpenHmacAsync(rig.Endpoint, "keyed", key))
        using (RawDevice three = await RawDevice.OpenHmacAsync(rig.Endpoint, "revoked", rig.Known["revoked"].Key!))
        {
        }

        await IngestRig.UntilAsync(() => rig.Board.OnlineCount == 0);
        rig.Known.TryRemove("revoked", out _);
        rig.TakeNotices();
        rig.Time.Advance(TimeSpan.FromDays(6.9));
        rig.Time.Advance(TimeSpan.FromHours(1.1));
        Assert.Empty(rig.TakeNotices());
        List<DeviceNotice> notices = [];
        await IngestRig.UntilAsync(() =>
        {
            rig.Time.Advance(TimeSpan.FromHours(1.1));
            notices.AddRange(rig.TakeNotices());
            return notices.Count == 2;
        });
        Assert.All(notices, notice => Assert.True(notice.IsForgotten));
        Assert.Equal(["gone", "revoked"], notices.Select(n => n.State.DeviceId).Order());
        Assert.Equal("keyed", Assert.Single(rig.Board.Snapshot()).DeviceId);
        // There is room again.
        using RawDevice four = await rig.OpenAsync("four");
        using RawDevice five = await rig.OpenAsync("five");
    }
}
