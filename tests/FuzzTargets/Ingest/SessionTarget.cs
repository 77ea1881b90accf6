using System.Text;

using IotTcpGateway.Commands;
using IotTcpGateway.Fuzz.Protocol;
using IotTcpGateway.Protocol;

namespace IotTcpGateway.Fuzz.Ingest;

/// <summary>
/// Sessions from connect to close, three connections at once, against the real ingest and buffer over loopback: no frame
/// is acknowledged before it is safe, ACKs never go back, nobody comes in without a proof, every answer is a legal frame
/// at its time, no defect is logged, and every account is at zero in the end.
/// </summary>
/// <remarks>
/// Input: a byte of options, then steps, each an operation and what it needs. Checksums, tags and proofs are made by the
/// target: wrong ones are steps of their own.
/// </remarks>
internal static class SessionTarget
{
    private const int StepsMax = 60;
    private const int AnswerMicroseconds = 400;

    // Comes within a fraction of it, but for code that runs for the first time.
    private const int CertainAnswerMicroseconds = 50_000;

    private static readonly string[] Ids = ["a", "b", "c", "d"];

    public static void Run(ReadOnlySpan<byte> input)
    {
        var steps = new FuzzInput(input);
        using var world = new SessionWorld(steps.Byte());
        var devices = new FuzzDevice?[3];
        List<FuzzDevice> all = [];
        try
        {
            while (!steps.IsAtEnd && world.Step++ < StepsMax)
            {
                Take(ref steps, world, devices, all);
                world.CheckNow();
            }

            foreach (FuzzDevice device in all)
                device.HalfClose();
            world.Finish(() => all.ForEach(device => device.Read(waitMicroseconds: 0)));
            foreach ((StreamModel stream, uint sequence) in all.SelectMany(device => device.MustHaveArrived))
                Require.That(stream.HasArrived(sequence), $"frame {sequence} was acknowledged and is nowhere");
        }
        finally
        {
            all.ForEach(device => device.Dispose());
        }
    }

    private static void Take(ref FuzzInput steps, SessionWorld world, FuzzDevice?[] devices, List<FuzzDevice> all)
    {
        int step = steps.Byte();
        int place = (step >> 5) % devices.Length;
        switch (step & 0x1F)
        {
            case 0 or 1 when !world.IsStopped:
                devices[place] = new FuzzDevice(world);
                all.Add(devices[place]!);
                break;
            case 2:
                world.Time.Advance(TimeSpan.FromMilliseconds(steps.Byte() * 50));
                break;
            case 3:
                world.Time.Advance(TimeSpan.FromSeconds(steps.Byte()));
                break;
            case 4 or 5:
                world.Take(steps.Below(8) + 1);
                break;
            case 6 or 7:
                world.Confirm(steps.Byte());
                devices[place]?.Read(AnswerMicroseconds / 4);
                break;
            case 8:
                int key = steps.Below(4);
                world.ChangeKey(Ids[steps.Below(Ids.Length)], key < SessionWorld.Keys.Length ? SessionWorld.Keys[key] : null);
                break;
            case 9:
                PostCommand(ref steps, world);
                break;
            case 10 when steps.Below(8) == 0:
                world.StopReading();
                break;
            default:
                if (devices[place] is { } device)
                    Send(ref steps, step & 0x1F, device);
                break;
        }
    }

    private static void Send(ref FuzzInput steps, int step, FuzzDevice device)
    {
        switch (step)
        {
            case 11 or 12 or 13:
                // Mostly to open a session, or none of what follows leads anywhere.
                int mode = step == 11 ? 0 : step == 12 ? 1 : steps.Byte();
                Features features = (Features)(steps.Byte() & 1);
                device.SendHello((AuthenticationMode)mode, features, Ids[steps.Below(Ids.Length)], (uint)steps.Below(6) + 1, steps.Byte());
                device.Read(device.AwaitsAnswer ? CertainAnswerMicroseconds : AnswerMicroseconds);
                break;
            case 14 or 15:
                device.SendProof(SessionWorld.Keys[step - 14]);
                device.Read(device.AwaitsAnswer ? CertainAnswerMicroseconds : AnswerMicroseconds);
                break;
            case 16 or 17 or 18:
                SendData(ref steps, step == 18 ? SequenceOf(ref steps, device) : device.NextSequence, device);
                break;
            case 19:
                SendDescribe(ref steps, device);
                break;
            case 20:
                device.SendFrame(FrameType.Ping, steps.Byte(), steps.Bytes(steps.Below(10)));
                device.Read(AnswerMicroseconds / 4);
                break;
            case 21:
                uint number = device.CommandNumbers.TryDequeue(out uint asked) ? asked : steps.Byte();
                device.SendFrame(FrameType.Result, number, steps.Text());
                break;
            case 22:
                device.SendFrame((FrameType)steps.Byte(), steps.Byte(), steps.Text());
                break;
            case 23:
                device.SendFrame(FrameType.Data, device.NextSequence, new byte[257 + steps.UInt16() % 16_000]);
                break;
            case 24:
                device.SendRaw(steps.Text());
                break;
            case 25:
                device.SendFrame(FrameType.Data, device.NextSequence, steps.Text(), isRight: false);
                break;
            case 26:
                device.PieceBytes = steps.Byte();
                break;
            case 27:
                device.HalfClose();
                break;
            case 28:
                device.SendFrame(FrameType.Bye, 0, [steps.Byte()]);
                break;
            default:
                device.Read(AnswerMicroseconds / 4);
                break;
        }
    }

    private static uint SequenceOf(ref FuzzInput steps, FuzzDevice device) => steps.Below(4) switch
    {
        0 => steps.Byte(),
        1 => device.NextSequence + steps.Byte(),
        2 => device.NextSequence - 1,
        _ => uint.MaxValue - steps.Byte(),
    };

    private static void SendData(ref FuzzInput steps, uint sequence, FuzzDevice device)
    {
        int kind = steps.Byte();
        if (kind >= 0xF0)
        {
            device.SendFrame(FrameType.Data, sequence, steps.Text());
            return;
        }

        var body = new byte[512];
        var writer = new DataWriter(body, baseTime: 0);
        writer.Add((ushort)(kind & 7), 0, kind);
        // Some are large, so that a few fill the buffer.
        if (kind >= 0x80)
            writer.AddBytes(2, 0, new byte[kind]);
        device.SendFrame(FrameType.Data, sequence, body.AsSpan(0, writer.Written));
    }

    private static void SendDescribe(ref FuzzInput steps, FuzzDevice device)
    {
        int kind = steps.Byte();
        if (kind >= 0xF0)
        {
            device.SendFrame(FrameType.Describe, 0, steps.Text());
            return;
        }

        var body = new byte[ProtocolConstants.BodyBytesMax];
        var writer = new DescribeWriter(body);
        string name = new('n', (kind >> 3) + 1);
        for (int i = 0; i <= (kind & 7); i++)
            writer.TryAdd((ushort)(steps.Byte() & 7), DataType.Bool, Encoding.ASCII.GetBytes(name), "u"u8);
        device.SendFrame(FrameType.Describe, 0, body.AsSpan(0, writer.Written));
    }

    private static void PostCommand(ref FuzzInput steps, SessionWorld world)
    {
        string id = Ids[steps.Below(Ids.Length)];
        byte[] payload = steps.Text().ToArray();
        world.Commands.Post(new CommandRequest(id, new string('c', steps.Byte()), payload, null, null));
        while (world.Commands.Answers.TryRead(out CommandAnswer? answer))
            Require.That(answer.Request.DeviceId.Length > 0, "an answer to nobody's command");
    }
}
