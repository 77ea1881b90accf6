using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;

using IotTcpGateway.DeviceClient;

namespace IotTcpGateway.Integration;

/// <summary>An outcome as the device was told it, and when.</summary>
/// <param name="Outcome">What became of the frame.</param>
/// <param name="At">Time since the device was made.</param>
internal readonly record struct LedgerEntry(FrameOutcome Outcome, TimeSpan At);

/// <summary>A device with the real client library that keeps a ledger of all it is told about its frames.</summary>
internal sealed class FieldDevice : IAsyncDisposable
{
    private readonly ConcurrentQueue<LedgerEntry> ledger = new();
    private readonly long since = Stopwatch.GetTimestamp();
    private readonly Func<int, uint, byte[]> body;
    private uint numbered;

    public FieldDevice(
        int index,
        string id,
        IPEndPoint gateway,
        byte[]? key,
        bool isTagged,
        Func<int, uint, byte[]>? body = null,
        Func<DeviceCommand, CancellationToken, ValueTask<DeviceCommandReply>>? onCommand = null,
        DeviceTlsOptions? tls = null)
    {
        Index = index;
        Id = id;
        this.body = body ?? Sample.Body;
        Client = new DeviceClient.DeviceClient(new DeviceClientOptions
        {
            Host = gateway.Address.ToString(),
            Port = gateway.Port,
            DeviceId = id,
            Key = key,
            RequireTags = isTagged,
            Tls = tls,
            Firmware = "1.2.3",
            Channels = Sample.Channels,
            MemoryBytesMax = 1 << 20,
            OnCommand = onCommand,
            OnOutcome = outcome => ledger.Enqueue(new LedgerEntry(outcome, Stopwatch.GetElapsedTime(since))),
        });
        Client.Start();
    }

    public int Index { get; }

    public string Id { get; }

    public DeviceClient.DeviceClient Client { get; }

    /// <summary>Frames handed over.</summary>
    public uint Sent => numbered;

    public IReadOnlyCollection<LedgerEntry> Ledger => ledger;

    public IEnumerable<FrameOutcome> With(FrameFate fate) => ledger.Select(e => e.Outcome).Where(o => o.Fate == fate);

    /// <summary>Hands the next frames over.</summary>
    public async Task SendAsync(int frames)
    {
        for (int i = 0; i < frames; i++)
        {
            ulong number = await Client.SendAsync(body(Index, ++numbered));
            if (number != numbered)
                throw new InvalidOperationException($"{Id}: frame {numbered} was given number {number}");
        }
    }

    public ValueTask DisposeAsync() => Client.DisposeAsync();
}
