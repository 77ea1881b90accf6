using IotTcpGateway.DeviceClient;

namespace IotTcpGateway.Demo;

/// <summary>Many simulated devices over real TCP.</summary>
internal sealed class Fleet : IAsyncDisposable
{
    /// <summary>Values that fit into a frame of a simulated device.</summary>
    public const int ValuesMax = 64;

    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(10);

    private readonly FleetOptions options;
    private readonly TimeProvider time;
    private readonly SimulatedDevice[] devices;
    private int started;

    public Fleet(FleetOptions options, TimeProvider time)
    {
        this.options = options;
        this.time = time;
        devices = [.. Enumerable.Range(1, options.Devices).Select(n => new SimulatedDevice(options, n, time, Latency))];
    }

    public LatencyHistogram Latency { get; } = new();

    /// <summary>Connects the devices and sends until every device has sent its frames, or it is told to stop.</summary>
    public async Task SendAsync(CancellationToken stopping)
    {
        try
        {
            Task connecting = ConnectAsync(stopping);
            Task breaking = options.BreakEvery is { } every ? BreakAsync(every, stopping) : Task.CompletedTask;
            await (options.Rate > 0 ? SendPacedAsync(stopping) : SendAllAsync(stopping)).ConfigureAwait(false);
            await connecting.ConfigureAwait(false);
            if (breaking.IsFaulted)
                await breaking.ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Time is up: what was sent counts.
        }
    }

    /// <summary>Waits until the outcome of every frame is known; false if the limit comes first.</summary>
    public async Task<bool> FlushAsync(TimeSpan limit, CancellationToken stopping)
    {
        using var both = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        both.CancelAfter(limit);
        try
        {
            foreach (SimulatedDevice device in devices.Take(Volatile.Read(ref started)))
                await device.FlushAsync(both.Token).ConfigureAwait(false);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    public FleetTotals Totals()
    {
        DeviceClientStatus[] all = [.. devices.Take(Volatile.Read(ref started)).Select(d => d.Status)];
        ConnectionEnd? problem = all.FirstOrDefault(s => !s.Connected && s.State.LastEnd is not null)?.State.LastEnd;
        return new FleetTotals(
            devices.Sum(d => d.Sent),
            all.Sum(s => s.Acknowledged),
            all.Sum(s => s.Refused),
            all.Sum(s => s.Dropped),
            all.Sum(s => s.Repeated),
            all.Sum(s => s.Connects),
            all.Count(s => s.Connected),
            problem is null ? "" : $"{problem.Kind}: {problem.Detail}");
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync() =>
        await Task.WhenAll(devices.Select(d => d.DisposeAsync().AsTask())).ConfigureAwait(false);

    private async Task ConnectAsync(CancellationToken stopping)
    {
        var interval = TimeSpan.FromSeconds(1.0 / options.ConnectsPerSecond);
        long since = time.GetTimestamp();
        for (int i = 0; i < devices.Length; i++)
        {
            TimeSpan early = (interval * i) - time.GetElapsedTime(since);
            if (early > Tick)
                await Task.Delay(early, time, stopping).ConfigureAwait(false);
            devices[i].Start();
            Volatile.Write(ref started, i + 1);
        }
    }

    // One clock for all devices: whoever is due sends; whoever has no room skips the turn, for time does not wait for him.
    private async Task SendPacedAsync(CancellationToken stopping)
    {
        using var timer = new PeriodicTimer(Tick, time);
        long since = time.GetTimestamp();
        long turns = 0;
        while (await timer.WaitForNextTickAsync(stopping).ConfigureAwait(false))
        {
            double due = time.GetElapsedTime(since).TotalSeconds * options.Rate * devices.Length;
            for (; turns < due; turns++)
            {
                SimulatedDevice device = devices[turns % devices.Length];
                if (options.Frames is null || device.Sent < options.Frames)
                    device.TrySend();
            }

            if (options.Frames is { } frames && Array.TrueForAll(devices, d => d.Sent >= frames))
                return;
        }
    }

    private Task SendAllAsync(CancellationToken stopping) => Task.WhenAll(devices.Select(async device =>
    {
        await Task.Yield();
        while (options.Frames is null || device.Sent < options.Frames)
            await device.SendAsync(stopping).ConfigureAwait(false);
    }));

    private async Task BreakAsync(TimeSpan every, CancellationToken stopping)
    {
        while (true)
        {
            await Task.Delay(every / devices.Length, time, stopping).ConfigureAwait(false);
            devices[Random.Shared.Next(devices.Length)].BreakConnection();
        }
    }
}
