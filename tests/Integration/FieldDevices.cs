using System.Net;

using IotTcpGateway.DeviceClient;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>
/// Devices of a test: a third each with key, with key and tags, and with neither. After the run their ledgers are held
/// against what came out behind the broker.
/// </summary>
internal sealed class FieldDevices : IAsyncDisposable
{
    private const int Kinds = 3;

    private readonly FieldDevice[] devices;

    public FieldDevices(
        IReadOnlyDictionary<string, byte[]> keys, IPEndPoint gateway, int count, Func<int, uint, byte[]>? body = null)
        : this(Enumerable.Range(1, count).Select(n => (N: n, Key: keys.GetValueOrDefault(IdOf(n)))).Select(
            d => new FieldDevice(d.N, IdOf(d.N), gateway, d.Key, d.Key is not null && d.N % Kinds == 1, body)))
    {
    }

    public FieldDevices(IEnumerable<FieldDevice> devices) => this.devices = [.. devices];

    public IReadOnlyList<FieldDevice> All => devices;

    public long Acknowledged => devices.Sum(d => d.Client.Status.Acknowledged);

    /// <summary>The ids that need a key, of devices numbered from 1.</summary>
    public static string[] IdsWithKey(int count) =>
        [.. Enumerable.Range(1, count).Where(n => n % Kinds != 0).Select(IdOf)];

    public Task SendAsync(int frames) => Task.WhenAll(devices.Select(d => d.SendAsync(frames)));

    /// <summary>Waits until each device knows what became of each frame.</summary>
    public async Task FlushAsync(RunningGateway? gateway = null)
    {
        using var guard = new CancellationTokenSource(Patience.HangGuard);
        try
        {
            await Task.WhenAll(devices.Select(d => d.Client.FlushAsync(guard.Token)));
        }
        catch (OperationCanceledException)
        {
            Assert.Fail($"frames without an outcome:\n{Describe()}\n{gateway?.Status()}\n{gateway?.Log.Tail}");
        }
    }

    /// <summary>Breaks the connections of some of them.</summary>
    public void Drop(int count, Random random)
    {
        foreach (FieldDevice device in random.GetItems(devices, count))
            device.Client.DropConnection();
    }

    /// <summary>
    /// Waits until everything that was acknowledged is there, then holds the two against each other: all messages of
    /// all acknowledged frames, with topic and content, and nothing else.
    /// </summary>
    public async Task ArriveExactlyAsync(Deliveries deliveries, Layout layout = Layout.Json)
    {
        await ArriveExactlyAsync([deliveries], layout);
    }

    /// <summary>As above, where each message may be at any of several brokers.</summary>
    public async Task ArriveExactlyAsync(IReadOnlyList<Deliveries> places, Layout layout = Layout.Json)
    {
        await HoldsAcknowledgedAsync(places, layout);
        Dictionary<MessageKey, ExpectedMessage> expected = Expected(layout).ToDictionary(m => m.Key);
        foreach (ExpectedMessage message in expected.Values)
            IsAsExpected(message, Find(places, message.Key)!);
        foreach (Deliveries deliveries in places)
        {
            Assert.Empty(deliveries.Faults);
            MessageKey[] unexpected = [.. deliveries.Keys().Where(key => !expected.ContainsKey(key)).Take(10)];
            Assert.True(unexpected.Length == 0, $"never acknowledged, yet there: {string.Join(", ", unexpected)}");
        }
    }

    /// <summary>What arrived is what was acknowledged, for frames of one message; contents are not looked at.</summary>
    public async Task ArriveByKeyAsync(Deliveries deliveries)
    {
        HashSet<MessageKey> acknowledged = [.. devices.SelectMany(d => d.With(FrameFate.Acknowledged)
            .Select(o => new MessageKey(d.Id, o.BootId, o.Sequence, 0)))];
        await Patience.UntilAsync(
            () => deliveries.Count >= acknowledged.Count,
            () => $"{deliveries.Count} arrived of {acknowledged.Count} acknowledged");
        Assert.True(acknowledged.SetEquals(deliveries.Keys()), "what arrived is not what was acknowledged");
        Assert.Empty(deliveries.Faults);
    }

    /// <summary>The promise: what was acknowledged reaches the consumer. Other frames may, too.</summary>
    public async Task HoldsAcknowledgedAsync(IReadOnlyList<Deliveries> places, Layout layout = Layout.Json)
    {
        ExpectedMessage[] expected = [.. Expected(layout)];
        await Patience.UntilAsync(
            () => places.Sum(p => p.Count) >= expected.Length
                && Array.TrueForAll(expected, m => Find(places, m.Key) is not null),
            () => $"acknowledged and not delivered, of {expected.Length}:\n{Missing(expected, places)}");
    }

    /// <summary>Every frame handed over was acknowledged.</summary>
    public void AreAllAcknowledged() => Assert.All(devices, device =>
        Assert.Equal(device.Sent, (uint)device.With(FrameFate.Acknowledged).Count()));

    public async ValueTask DisposeAsync() => await Task.WhenAll(devices.Select(d => d.DisposeAsync().AsTask()));

    private static string IdOf(int number) => $"dev-{number}";

    private static Delivered? Find(IReadOnlyList<Deliveries> places, MessageKey key) =>
        places.Select(p => p.Find(key)).FirstOrDefault(found => found is not null);

    private static void IsAsExpected(in ExpectedMessage message, Delivered delivered)
    {
        Assert.Equal(message.Topic, delivered.Topic);
        if (!message.Payload.AsSpan().SequenceEqual(delivered.Payload))
            Assert.Equal(System.Text.Encoding.UTF8.GetString(message.Payload), delivered.Json);
    }

    private IEnumerable<ExpectedMessage> Expected(Layout layout) =>
        devices.SelectMany(device => device.With(FrameFate.Acknowledged).SelectMany(o => Sample.Messages(
            layout, $"telemetry/gw/{device.Id}", device.Id, o.BootId, o.Sequence, device.Index, (uint)o.Number)));

    private string Missing(ExpectedMessage[] expected, IReadOnlyList<Deliveries> places)
    {
        IEnumerable<MessageKey> missing = expected.Select(m => m.Key).Where(key => Find(places, key) is null).Take(20);
        return string.Join('\n', missing.Select(key =>
        {
            LedgerEntry told = devices.Single(d => d.Id == key.Device).Ledger
                .First(e => e.Outcome.BootId == key.Boot && e.Outcome.Sequence == key.Sequence);
            return $"{key} acknowledged at {told.At}, {told.Outcome.Latency} after it was handed over";
        }));
    }

    public string Describe() => string.Join('\n', devices
        .Where(d => d.Client.Status.KeptFrames > 0)
        .Take(10)
        .Select(d => $"{d.Id}: {d.Client.Status}"));
}
