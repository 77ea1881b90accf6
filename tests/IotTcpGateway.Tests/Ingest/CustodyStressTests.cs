using System.Collections.Concurrent;

using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

/// <summary>
/// Many devices that break off and come back, a forwarder that confirms in any order and loses its link.
/// </summary>
public class CustodyStressTests
{
    private const int Devices = 8;
    private const uint FramesEach = 400;

    [Theory]
    [InlineData("Refuse")]
    [InlineData("DropOldest")]
    [InlineData("DropNewest")]
    public async Task WhateverHappens_AcknowledgedFramesAreConfirmedOrTheirDropIsCounted(string whenFull)
    {
        await using var rig = new IngestRig(
            o => (o.FramesPerSecond, o.MaxWindow, o.MaxUnauthenticated) = (1_000_000, 32, 64),
            b => (b.Memory, b.WhenFull) = (3 * RecordChunk.Bytes, Enum.Parse<WhenFull>(whenFull)));
        var confirmed = new ConcurrentDictionary<(string, uint), int>();
        using var ended = new CancellationTokenSource();
        Task forwarder = Task.Run(() => ForwardAsync(rig, confirmed, ended.Token));
        var nacked = new ConcurrentDictionary<(string, uint), bool>();
        await Task.WhenAll(
            Enumerable.Range(0, Devices).Select(i => Task.Run(() => DeviceAsync(rig, $"d{i}", i, nacked))));
        await ended.CancelAsync();
        await forwarder;

        Assert.Equal(0, rig.Buffer.Records);
        Assert.All(confirmed, one => Assert.Equal(1, one.Value));
        Assert.DoesNotContain(confirmed.Keys, nacked.ContainsKey);
        Assert.Equal(Devices * (long)FramesEach, confirmed.Count + rig.Buffer.DroppedRecords);
        if (whenFull == "Refuse")
            Assert.Equal(0, rig.Buffer.DroppedRecords);
    }

    private static async Task ForwardAsync(
        IngestRig rig, ConcurrentDictionary<(string, uint), int> confirmed, CancellationToken ended)
    {
        var random = new Random(1);
        List<TakenRecord> taken = [];
        while (!ended.IsCancellationRequested || rig.Buffer.Records > 0)
        {
            while (taken.Count < 40 && rig.TryTake() is { } record)
                taken.Add(record);
            if (taken.Count == 0)
            {
                await Task.Yield();
                continue;
            }

            if (random.Next(50) == 0)
            {
                rig.Buffer.Rewind();
                taken.Clear();
                continue;
            }

            int which = random.Next(taken.Count);
            confirmed.AddOrUpdate((taken[which].Device, taken[which].Sequence), 1, (_, times) => times + 1);
            rig.Confirm(taken[which]);
            taken.RemoveAt(which);
        }
    }

    // Keeps each frame until it is answered, sends again what WELCOME does not cover: what the protocol asks of a
    // device.
    private static async Task DeviceAsync(
        IngestRig rig, string id, int seed, ConcurrentDictionary<(string, uint), bool> nacked)
    {
        var random = new Random(seed);
        byte[] body = RawDevice.DataBody(paddingBytes: 1_500);
        uint safe = 0, used = 0;
        HashSet<uint> refused = [];
        while (safe < FramesEach && refused.Count + safe < 2 * FramesEach)
        {
            using RawDevice device = await rig.OpenAsync(id, boot: 1, highestUsed: used);
            safe = Math.Max(safe, device.Welcome!.LastSafe);
            int window = device.Welcome.Window;
            var outstanding = new SortedSet<uint>();
            uint next = safe + 1;
            int answersLeft = random.Next(5, 120);
            while (answersLeft > 0)
            {
                while (outstanding.Count < window && next <= FramesEach)
                {
                    if (!refused.Contains(next))
                    {
                        outstanding.Add(next);
                        used = Math.Max(used, next);
                        await device.SendAsync(FrameType.Data, next, body);
                    }

                    next++;
                }

                if (next > FramesEach && outstanding.Count == 0)
                {
                    safe = FramesEach;
                    break;
                }

                ReceivedFrame answer = await device.ReadAsync() ?? throw new InvalidOperationException("closed");
                answersLeft--;
                if (answer.Type == FrameType.Nack)
                {
                    refused.Add(answer.Sequence);
                    nacked[(id, answer.Sequence)] = true;
                    outstanding.Remove(answer.Sequence);
                    continue;
                }

                Assert.Equal(FrameType.Ack, answer.Type);
                safe = Math.Max(safe, answer.Sequence);
                window = answer.Window;
                outstanding.RemoveWhere(sequence => sequence <= safe);
            }

            if (random.Next(2) == 0)
                device.Reset();
        }
    }
}
