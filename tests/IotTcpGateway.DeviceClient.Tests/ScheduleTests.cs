using System.Collections.Concurrent;

using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

/// <summary>
/// Connections that break, answers that come late or never: whatever happens, every frame has one end.
/// </summary>
public class ScheduleTests
{
    private const int Frames = 80;
    private static readonly byte[] key = [.. Enumerable.Range(0, 32).Select(i => (byte)(i * 5))];

    public static TheoryData<int> Seeds => [.. Enumerable.Range(1, 48)];

    [Theory]
    [MemberData(nameof(Seeds))]
    public async Task AnySchedule_EveryFrameEndsOnceAndArrivesInOrder(int seed)
    {
        var random = new Random(seed);
        var outcomes = new ConcurrentQueue<FrameOutcome>();
        WhenFull whenFull = seed % 3 == 0 ? WhenFull.DropOldest : WhenFull.Wait;
        bool tags = seed % 2 == 0;
        await using var rig = new Rig(new RigOptions
        {
            Key = tags ? key : null,
            RequireTags = tags,
            MemoryBytesMax = 39 * random.Next(7, 30),
            WhenFull = whenFull,
            OnOutcome = outcomes.Enqueue,
            WaitsPass = true,
        });
        var gateway = new RandomGateway(rig.Gateway, random);
        rig.Client.Start();
        Task flush = Task.Run(async () =>
        {
            for (int i = 1; i <= Frames; i++)
                Assert.Equal((ulong)i, await rig.Client.SendAsync(Rig.Body(i)));
            await rig.Client.FlushAsync();
        });
        await gateway.RunAsync(flush);
        await flush;

        Assert.Equal(Enumerable.Range(1, Frames).Select(i => (ulong)i), outcomes.Select(o => o.Number).Order());
        foreach (FrameOutcome outcome in outcomes)
        {
            Assert.True(outcome.Fate != FrameFate.Acknowledged || gateway.Taken.Contains((int)outcome.Number));
            Assert.True(
                outcome.Fate != FrameFate.Refused || gateway.Refused.Contains((outcome.BootId, outcome.Sequence)));
            Assert.True(outcome.Fate != FrameFate.Dropped || whenFull == WhenFull.DropOldest);
        }

        DeviceClientStatus status = rig.Client.Status;
        Assert.Equal((Frames, 0, 0), (status.Accepted, status.KeptFrames, status.KeptBytes));
        Assert.Equal(status.Accepted, status.Acknowledged + status.Refused + status.Dropped);
    }

    /// <summary>Keeps to the protocol, and otherwise does as it likes.</summary>
    private sealed class RandomGateway(ScriptedGateway gateway, Random random)
    {
        private readonly Dictionary<uint, Boot> boots = [];
        private ScriptedConnection connection = null!;
        private Boot boot = null!;
        private uint lastAcknowledged;
        private HashSet<uint> outstanding = [];
        private HashSet<uint> refusedHere = [];
        private int window;
        private int windowBefore;

        private sealed class Boot(uint id)
        {
            public uint Id => id;

            public uint HighestTaken { get; set; }

            public uint Safe { get; set; }
        }

        public HashSet<int> Taken { get; } = [];

        public HashSet<(uint BootId, uint Sequence)> Refused { get; } = [];

        public async Task RunAsync(Task flush)
        {
            for (int i = 0; i < 12 && !flush.IsCompleted; i++)
            {
                if (!await TryWelcomeAsync(mayRefuse: true))
                    continue;
                for (int steps = random.Next(12); steps > 0; steps--)
                    await StepAsync();
                if (random.Next(3) == 0)
                    await connection.ByeAsync((ByeReason)random.Next(6));
                connection.Reset();
            }

            // From here on it is a gateway as it should be.
            await TryWelcomeAsync(mayRefuse: false);
            while (!flush.IsCompleted)
            {
                await PumpAsync();
                await AckAsync(boot.HighestTaken, 50);
            }
        }

        private async Task<bool> TryWelcomeAsync(bool mayRefuse)
        {
            connection = await gateway.AcceptAsync();
            ScriptedHello hello = await connection.ReceiveHelloAsync();
            if (gateway.Key is not null)
            {
                await connection.ChallengeAsync();
                await connection.ReceiveAuthAsync();
            }

            if (!boots.TryGetValue(hello.BootId, out Boot? known))
                boots.Add(hello.BootId, known = new Boot(hello.BootId));
            Assert.True(hello.HighestUsed >= known.HighestTaken);
            int mood = mayRefuse ? random.Next(10) : 9;
            if (mood < 3)
            {
                await connection.RefuseAsync((RefuseReason)(mood == 0 ? 10 : 7), (ushort)random.Next(20));
                await connection.ReceiveUntilClosedAsync();
                return false;
            }

            boot = known;
            outstanding = [];
            refusedHere = [];
            lastAcknowledged = 0;
            window = windowBefore = random.Next(mayRefuse ? 0 : 1, 8);
            await connection.WelcomeAsync(new ScriptedTerms { LastSafe = boot.Safe, Window = (ushort)window });
            return true;
        }

        private Task StepAsync() => random.Next(5) switch
        {
            0 => AckAsync(boot.Safe + (uint)random.Next(Unsafe + 1), random.Next(8)),
            1 when Unsafe > 0 => NackAsync(boot.Safe + (uint)random.Next(Unsafe) + 1),
            _ => PumpAsync(),
        };

        private int Unsafe => (int)(boot.HighestTaken - boot.Safe);

        private Task AckAsync(uint sequence, int opened)
        {
            boot.Safe = Math.Max(boot.Safe, sequence);
            lastAcknowledged = Math.Max(lastAcknowledged, sequence);
            outstanding.RemoveWhere(s => s <= sequence);
            windowBefore = Math.Max(windowBefore, window);
            window = opened;
            return connection.AckAsync(sequence, (ushort)opened);
        }

        private Task NackAsync(uint sequence)
        {
            Refused.Add((boot.Id, sequence));
            refusedHere.Add(sequence);
            outstanding.Remove(sequence);
            return connection.NackAsync(sequence, NackReason.ValueRefused);
        }

        private async Task PumpAsync()
        {
            foreach (ScriptedFrame frame in await Rig.FenceAsync(connection))
            {
                Assert.Equal(FrameType.Data, frame.Type);
                Take(frame);
            }

            windowBefore = window;
        }

        private void Take(ScriptedFrame frame)
        {
            // An answer may already have spoken of a frame that was on its way again.
            if (frame.Sequence > lastAcknowledged && !refusedHere.Contains(frame.Sequence))
                outstanding.Add(frame.Sequence);
            int allowed = Math.Max(window, windowBefore);
            Assert.True(outstanding.Count <= allowed, $"{outstanding.Count} outstanding, {allowed} allowed");
            if (frame.Sequence <= boot.HighestTaken)
                return;
            boot.HighestTaken = frame.Sequence;
            Assert.True(Taken.Add(Rig.Value(frame.Body)) || boots.Count > 1, "taken twice under one boot");
        }
    }
}
