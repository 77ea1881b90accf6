using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;

using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

namespace IotTcpGateway.Integration;

/// <summary>A device without a key that says HELLO and listens: for what the client library does not show.</summary>
internal sealed class HandMadeDevice : IDisposable
{
    private readonly Socket socket = new(SocketType.Stream, ProtocolType.Tcp);
    private readonly byte[] input = new byte[4096];
    private int received;

    private HandMadeDevice()
    {
    }

    /// <summary>What WELCOME said.</summary>
    public ushort Window { get; private set; }

    public static async Task<HandMadeDevice> ConnectAsync(IPEndPoint gateway, string id)
    {
        var device = new HandMadeDevice();
        await device.socket.ConnectAsync(gateway);
        await device.socket.SendAsync(HelloOf(id));
        byte[] body = (await device.ReceiveAsync(FrameType.Welcome)).Body;
        if (!Welcome.TryRead(body, out Welcome welcome))
            throw new InvalidDataException("malformed WELCOME");
        device.Window = welcome.Window;
        return device;
    }

    public async Task<(uint Sequence, ushort Window)> ReceiveAckAsync()
    {
        (uint sequence, byte[] body) = await ReceiveAsync(FrameType.Ack);
        return (sequence, BinaryPrimitives.ReadUInt16LittleEndian(body));
    }

    public void Dispose() => socket.Dispose();

    private static byte[] HelloOf(string id)
    {
        var body = new byte[ProtocolConstants.ControlBodyBytesMax];
        int bodyBytes = new Hello
        {
            Authentication = AuthenticationMode.None,
            Features = Features.None,
            BootId = 1,
            HighestUsed = 0,
            DeviceNonce = RandomNumberGenerator.GetBytes(ProtocolConstants.NonceBytes),
            DeviceId = Encoding.UTF8.GetBytes(id),
            Firmware = [],
        }.WriteBody(body);
        var frame = new byte[ProtocolConstants.FrameBytes(bodyBytes, tagged: false)];
        FrameWriter.Write(frame, FrameType.Hello, 0, body.AsSpan(0, bodyBytes));
        return frame;
    }

    private async Task<(uint Sequence, byte[] Body)> ReceiveAsync(FrameType type)
    {
        while (true)
        {
            if (TryTake(out FrameType came, out uint sequence, out byte[] body))
                return came == type ? (sequence, body) : throw new InvalidDataException($"{came} came, not {type}");
            using var guard = new CancellationTokenSource(Patience.HangGuard);
            int bytes = await socket.ReceiveAsync(input.AsMemory(received), guard.Token);
            if (bytes == 0)
                throw new InvalidDataException($"the gateway closed instead of sending {type}");
            received += bytes;
        }
    }

    private bool TryTake(out FrameType type, out uint sequence, out byte[] body)
    {
        (type, sequence, body) = (default, 0, []);
        FrameReadResult result = FrameReader.Read(input.AsSpan(0, received), out Frame frame);
        if (result == FrameReadResult.NeedMoreData)
            return false;
        if (result != FrameReadResult.Frame)
            throw new InvalidDataException($"not a frame: {result}");
        (type, sequence, body) = (frame.Header.Type, frame.Header.Sequence, frame.Body.ToArray());
        int bytes = frame.Bytes.Length;
        input.AsSpan(bytes, received - bytes).CopyTo(input);
        received -= bytes;
        return true;
    }
}
