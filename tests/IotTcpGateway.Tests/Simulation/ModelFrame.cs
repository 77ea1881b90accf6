using IotTcpGateway.Buffer;

namespace IotTcpGateway.Tests.Simulation;

/// <summary>A frame of a device, and everything that came of it.</summary>
internal sealed class ModelFrame(ModelBoot boot, uint sequence, int bodyBytes, ChannelTable channels)
{
    public ModelBoot Boot => boot;

    public uint Sequence => sequence;

    public ChannelTable Channels => channels;

    /// <summary>When it was last taken by a gateway.</summary>
    public Arrival Arrival { get; set; }

    /// <summary>How long gateways had run by then, all together.</summary>
    public TimeSpan ArrivalRunTime { get; set; }

    /// <summary>How often a gateway took it; more than once when a crash came between.</summary>
    public int Takings { get; set; }

    /// <summary>How often a gateway heard the broker confirm it.</summary>
    public int Confirmations { get; set; }

    /// <summary>The gateway was told to forget it: <c>safe</c> covered it.</summary>
    public bool IsAcknowledged { get; set; }

    /// <summary>Its device was told that it was not taken.</summary>
    public bool IsRejected { get; set; }

    /// <summary>A gateway gave it up; after a crash it may be on disk all the same.</summary>
    public bool IsGivenUp { get; set; }

    /// <summary>The life in which it was given up before it was safe.</summary>
    public int DroppedInLife { get; set; } = -1;

    /// <summary>The broker has it.</summary>
    public bool IsDelivered { get; set; }

    /// <summary>The broker will never take it.</summary>
    public bool IsPoison { get; set; }

    /// <summary>A gap report told of it.</summary>
    public bool IsTold { get; set; }

    /// <summary>It was found in quarantine at the end.</summary>
    public bool IsQuarantined { get; set; }

    /// <summary>
    /// It was acknowledged from memory alone when a gateway crashed, because that is what was asked for; or it was given
    /// up before it was safe, and a disk that refused everything did not take the ledger's word before the crash.
    /// </summary>
    public bool IsExcused { get; set; }

    /// <summary>
    /// A gateway crashed before it was safe: it may be on disk all the same, beside what its device sends again.
    /// </summary>
    public bool IsDoubtful { get; set; }

    /// <summary>The last life in which it was settled.</summary>
    public int SettledInLife { get; set; } = -1;

    /// <summary>A durable cursor is past it.</summary>
    public bool IsBehindCursor { get; set; }

    public byte[] Body()
    {
        var body = new byte[bodyBytes];
        new Random(((int)boot.BootId * 100_003) + ((int)sequence * 31) + boot.Device.Number).NextBytes(body);
        return body;
    }

    public override string ToString() => $"{boot.Device.Id}/{boot.BootId}/{sequence}";
}

/// <summary>A boot of a device: its frames, by sequence from 1, and how far they are acknowledged.</summary>
internal sealed class ModelBoot(ModelDevice device, uint bootId)
{
    public ModelDevice Device => device;

    public uint BootId => bootId;

    public List<ModelFrame> Frames { get; } = [];

    /// <summary>What the device was told; it keeps what is above.</summary>
    public uint Safe { get; set; }

    /// <summary>The device has lost what it kept.</summary>
    public bool IsAbandoned { get; set; }

    public bool IsAllSafe => Safe == Frames.Count;
}
