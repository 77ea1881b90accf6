using IotTcpGateway.Buffer;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Tests.Simulation;

/// <summary>
/// A device that keeps each frame until it is told that it is safe, and sends again what it keeps on every connection.
/// It may have several boots of which it keeps frames, and speaks of one at a time.
/// </summary>
internal sealed class ModelDevice(int number, int priority, Random random, Account account) : IStreamOwner
{
    private static readonly ChannelTable[] Tables =
    [
        ChannelTable.Empty,
        .. Enumerable.Range(1, 5).Select(t => ChannelTable.Empty.With(
            Enumerable.Range(1, t).Select(c => new Channel((ushort)c, DataType.F32, $"channel {t}.{c}", "unit")))),
    ];

    private readonly List<ModelBoot> boots = [];
    private ModelBoot? boot;
    private DeviceStream? stream;
    private uint nextToSend;
    private bool hasNews;
    private uint lastBootId;

    public string Id => $"device-{number}";

    public int Number => number;

    public int Priority => priority;

    public bool IsConnected => stream is not null;

    /// <summary>Nothing is kept any more.</summary>
    public bool IsAllSafe => boots.All(b => b.IsAllSafe || b.IsAbandoned);

    public void Progressed() => hasNews = true;

    /// <summary>Its own power was off: with or without what it kept.</summary>
    public void Restart(ModelGateway gateway)
    {
        Disconnect(gateway);
        if (boot is not null && random.Next(2) == 0)
            boot.IsAbandoned = true;
        boot = null;
    }

    public void Disconnect(ModelGateway gateway)
    {
        if (stream is not null)
            gateway.Buffer.ReleaseOwner(stream, this);
        stream = null;
    }

    /// <summary>The gateway is gone, and the connection with it.</summary>
    public void Lose() => stream = null;

    public void Connect(ModelGateway gateway)
    {
        Disconnect(gateway);
        boot = NextBoot();
        stream = gateway.StreamOf(this, boot.BootId);
        Account.Require(
            stream.HighestTaken <= boot.Frames.Count, $"{Id}/{boot.BootId}: {stream.HighestTaken} was taken and never sent");
        gateway.Buffer.SetOwner(stream, this);
        // WELCOME tells what is safe.
        account.Safe(boot, stream.SafeSequence);
        hasNews = true;
        nextToSend = boot.Safe + 1;
    }

    /// <summary>Hears what the gateway has to tell: NACKs first, then what is safe.</summary>
    public void Listen(ModelGateway gateway)
    {
        if (stream is null || !hasNews)
            return;
        hasNews = false;
        uint safe;
        while (gateway.Buffer.TryTakeDropped(stream, out DroppedFrame dropped, out safe))
            boot!.Frames[(int)dropped.Sequence - 1].IsRejected = true;
        account.Safe(boot!, safe);
    }

    /// <summary>Makes a frame, whether it can be sent or not.</summary>
    public void Produce()
    {
        if (boot is null || boot.IsAbandoned)
            return;
        int bytes = random.Next(8) switch { 0 => random.Next(1, 16_384), < 4 => random.Next(200, 4_000), _ => random.Next(1, 300) };
        boot.Frames.Add(new ModelFrame(boot, (uint)boot.Frames.Count + 1, bytes, Tables[random.Next(Tables.Length)])
        {
            IsPoison = random.Next(60) == 0,
        });
    }

    /// <summary>Sends the next frame that it keeps; false if there is none, or no room.</summary>
    public bool Send(ModelGateway gateway)
    {
        if (stream is null || nextToSend > boot!.Frames.Count)
            return false;
        ModelFrame frame = boot.Frames[(int)nextToSend - 1];
        if (nextToSend <= stream.HighestTaken || frame.IsRejected)
        {
            hasNews |= frame.IsRejected || nextToSend <= stream.SafeSequence;
            nextToSend++;
            return true;
        }

        if (!TryHandOver(gateway, frame))
            return false;
        nextToSend++;
        return true;
    }

    private bool TryHandOver(ModelGateway gateway, ModelFrame frame)
    {
        if (random.Next(200) == 0)
        {
            Reject(gateway, frame); // it came malformed
            return true;
        }

        Arrival arrival = gateway.Now();
        switch (gateway.Buffer.TryAdd(stream!, frame.Sequence, frame.Channels, arrival, frame.Body()))
        {
            case AddResult.Full:
                return false;
            case AddResult.Dropped:
                Reject(gateway, frame);
                return true;
            default:
                frame.Arrival = arrival;
                frame.ArrivalRunTime = gateway.RunTime;
                account.Taken(frame);
                return true;
        }
    }

    private void Reject(ModelGateway gateway, ModelFrame frame)
    {
        frame.IsRejected = true;
        gateway.Buffer.SkipSequence(stream!, frame.Sequence);
    }

    private ModelBoot NextBoot()
    {
        List<ModelBoot> unfinished = [.. boots.Where(b => !b.IsAllSafe && !b.IsAbandoned)];
        if (boot is not null && !boot.IsAbandoned && (unfinished.Count == 0 || random.Next(3) > 0))
            return boot;
        if (unfinished.Count > 0)
            return unfinished[random.Next(unfinished.Count)];
        var next = new ModelBoot(this, ++lastBootId);
        boots.Add(next);
        account.Add(next);
        return next;
    }
}
