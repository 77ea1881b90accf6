using IotTcpGateway.Buffer;
using IotTcpGateway.Journal.Tests;

namespace IotTcpGateway.Tests.Simulation;

/// <summary>
/// Gateways one after the other over one disk, each ended by a stop, a kill or a power cut at any operation, with devices
/// and a broker that come and go; all from one seed. At the end all trouble ends, and everything has to come to rest.
/// </summary>
internal sealed class BufferWorld
{
    private const int RestStepsMax = 40_000;

    private static readonly string[] Acts = ["devices", "broker", "time", "trouble"];

    private readonly Random random;
    private readonly Trouble trouble;
    private readonly BufferOptions options;
    private readonly SimulatedVolume volume;
    private readonly Account account;
    private readonly ModelBroker broker;
    private readonly List<ModelDevice> devices = [];
    private uint hostBoot = 1;

    public BufferWorld(int seed)
    {
        random = new Random(seed);
        // Every eighth world has nothing but power cuts, every eighth rots too.
        trouble = (seed % 8) switch
        {
            0 => Trouble.PowerCuts,
            1 => Trouble.PowerCuts | Trouble.Kills | Trouble.BitRot,
            _ => (Trouble)random.Next(64),
        };
        options = Options();
        volume = new SimulatedVolume(random, trouble);
        account = new Account(options, trouble);
        broker = new ModelBroker(random, account);
        int count = random.Next(1, 6);
        for (int i = 0; i < count; i++)
            devices.Add(new ModelDevice(i, random.Next(1, 4), random, account));
    }

    /// <summary>What came to pass, so that a run can say that it tried.</summary>
    public (long Acknowledged, long Delivered, long Told) Figures => (account.Acknowledged, account.Delivered, account.Told);

    public void Run()
    {
        int lives = random.Next(2, 5);
        for (int life = 0; life < lives; life++)
            Live(life);
        Rest(lives);
        Rest(lives + 1);
        account.CheckAll();
    }

    public override string ToString() =>
        $"{trouble}, {devices.Count} devices, memory {options.Memory}, disk {options.Disk}, quarantine {options.Quarantine}, "
        + $"{options.WhenFull}, {options.Drain} {options.DrainShare} %, ack {options.Ack}, spillAfter {options.SpillAfter}, "
        + $"maxAge {options.MaxAge}";

    private BufferOptions Options() => new()
    {
        Ack = random.Next(8) == 0 ? AckPolicy.Memory : AckPolicy.Safe,
        Memory = random.Next(2, 17) * RecordChunk.Bytes,
        WhenFull = (WhenFull)random.Next(3),
        Disk = random.Next(4) switch { 0 => 4 << 20, 1 => 2 << 20, _ => (1 << 20) + random.Next(200_000) },
        Quarantine = (256 << 10) + random.Next(100_000),
        SpillAfter = TimeSpan.FromMilliseconds(random.Next(3) == 0 ? 0 : random.Next(2_000)),
        MaxAge = random.Next(2) == 0 ? TimeSpan.FromDays(7) : TimeSpan.FromSeconds(random.Next(5, 60)),
        Drain = (DrainOrder)random.Next(2),
        DrainShare = random.Next(10, 91),
    };

    private void Live(int life)
    {
        account.Life = life;
        using var gateway = new ModelGateway(options, volume, account, random, hostBoot);
        try
        {
            if (trouble.HasFlag(Trouble.PowerCuts) && random.Next(4) > 0)
                volume.PlanPowerCut(random.Next(3) == 0 ? 60 : 1500);
            if (random.Next(6) == 0)
                volume.MakeTrouble();
            gateway.Start();
            int steps = random.Next(50, 400);
            for (int step = 0; step < steps; step++)
                Act(gateway);
            if (random.Next(3) == 0)
                Stop(gateway);
        }
        catch (PowerCutException)
        {
        }

        End(gateway);
    }

    private void Act(ModelGateway gateway)
    {
        switch (Acts[random.Next(32) switch { 0 => 3, < 14 => 0, < 22 => 1, _ => 2 }])
        {
            case "devices":
                Act(gateway, devices[random.Next(devices.Count)]);
                break;
            case "broker":
                ActOnBroker(gateway);
                break;
            case "time":
                gateway.Advance(SomeTime());
                break;
            default:
                if (random.Next(2) == 0)
                    volume.CalmDown();
                else
                    volume.MakeTrouble();
                break;
        }

        // Threads run when they are let.
        if (random.Next(3) > 0)
            gateway.RunThreads();
    }

    private void Act(ModelGateway gateway, ModelDevice device)
    {
        if (!device.IsConnected || random.Next(40) == 0)
            device.Connect(gateway);
        if (random.Next(80) == 0)
            device.Restart(gateway);
        else if (random.Next(40) == 0)
            device.Disconnect(gateway);
        int frames = random.Next(4) == 0 ? random.Next(60) : random.Next(8);
        for (int i = 0; i < frames; i++)
            device.Produce();
        int sent = random.Next(80);
        while (sent-- > 0 && (!gateway.Buffer.IsFull || random.Next(8) == 0) && device.Send(gateway))
        {
        }

        if (random.Next(3) > 0)
            device.Listen(gateway);
    }

    private void ActOnBroker(ModelGateway gateway)
    {
        if (random.Next(broker.IsUp ? 30 : 12) == 0)
        {
            if (broker.IsUp)
                broker.Disconnect(gateway);
            else
                broker.Connect(gateway);
        }

        broker.Take(gateway, isBacklogAllowed: random.Next(4) > 0);
        if (random.Next(4) > 0)
            broker.Answer(gateway, random.Next(40));
        broker.LookAgain(gateway);
    }

    private TimeSpan SomeTime() => TimeSpan.FromMilliseconds(random.Next(10) switch
    {
        < 5 => random.Next(1, 30),
        < 8 => random.Next(300),
        8 => random.Next(5_000),
        _ => random.Next(4) == 0 ? random.Next(60_000) : random.Next(1_000),
    });

    // As the gateway stops: no more from devices, a little time for the broker and for the disk, the last ACKs.
    private void Stop(ModelGateway gateway)
    {
        for (int i = 0; i < random.Next(5); i++)
            ActOnBroker(gateway);
        gateway.BeginFlush();
        for (int i = 0; i < 60 && !gateway.IsFlushed; i++)
        {
            gateway.RunThreads();
            gateway.Advance(TimeSpan.FromMilliseconds(50));
        }

        foreach (ModelDevice device in devices)
            device.Listen(gateway);
        gateway.Finish();
    }

    private void End(ModelGateway gateway)
    {
        account.Crashed(gateway.Custody(), volume.IsRefusing);
        account.RunTimeBefore = gateway.RunTime;
        broker.Lose();
        foreach (ModelDevice device in devices)
            device.Lose();
        volume.CalmDown();
        if (trouble.HasFlag(Trouble.Kills) && random.Next(3) == 0)
        {
            volume.Kill();
        }
        else
        {
            volume.CutPower();
            hostBoot++;
        }

        if (trouble.HasFlag(Trouble.BitRot) && random.Next(2) == 0)
            account.Flips += volume.Rot();
    }

    // No more trouble: everything that was acknowledged gets to the broker, and nothing is left behind.
    private void Rest(int life)
    {
        account.Life = life;
        using var gateway = new ModelGateway(options, volume, account, random, hostBoot);
        gateway.Start();
        broker.Connect(gateway);
        foreach (ModelDevice device in devices)
            device.Connect(gateway);
        int steps = 0;
        while (!IsAtRest(gateway))
        {
            Account.Require(steps++ < RestStepsMax, $"it never comes to rest: {gateway}: {account.Waiting()}");
            ActInPeace(gateway);
        }

        gateway.ReadQuarantine();
        gateway.Finish();
        End(gateway);
    }

    private bool IsAtRest(ModelGateway gateway) => gateway.Buffer.Records == 0 && gateway.IsDiskEmpty
        && gateway.Ledger.ReportsWaiting == 0 && devices.All(d => d.IsAllSafe);

    private void ActInPeace(ModelGateway gateway)
    {
        foreach (ModelDevice device in devices)
        {
            int frames = 20;
            while (frames-- > 0 && !gateway.Buffer.IsFull && device.Send(gateway))
            {
            }

            device.Listen(gateway);
            if (random.Next(400) == 0)
                device.Connect(gateway);
        }

        broker.Take(gateway, isBacklogAllowed: true);
        broker.Answer(gateway, 40);
        gateway.RunThreads();
        gateway.Advance(TimeSpan.FromMilliseconds(random.Next(1, 40)));
    }
}
