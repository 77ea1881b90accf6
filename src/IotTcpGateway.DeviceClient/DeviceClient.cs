using System.Security.Cryptography;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>
/// The device side of ITGP/1. It connects and connects again, keeps every DATA frame until the gateway has acknowledged
/// or refused it, and sends again what a lost connection left open. All members may be used from several threads.
/// </summary>
/// <remarks>
/// Kept frames live in memory: they survive the loss of a connection, and not the end of the process.
/// </remarks>
public sealed partial class DeviceClient : IAsyncDisposable
{
    private readonly DeviceClientOptions options;
    private readonly TimeProvider time;
    private readonly byte[] key;
    private readonly TlsIdentity? tls;
    private readonly Custody custody;
    private readonly ChannelList channels;
    private readonly CommandWorker commands;
    private readonly CancellationTokenSource stopping = new();
    private readonly Lock gate = new();
    private Task? running;
    private Connection? connection;
    private DeviceClientState state;
    private long connects;
    private TimeSpan? gatewayTimeOffset;

    /// <summary>Checks the options and reads the files that they name.</summary>
    /// <param name="options">Who the device is, and where its gateway.</param>
    /// <exception cref="ArgumentException">An option or a channel breaks a rule; the message says which.</exception>
    /// <exception cref="IOException">A file of <see cref="DeviceClientOptions.Tls"/> cannot be read.</exception>
    /// <exception cref="CryptographicException">A file of <see cref="DeviceClientOptions.Tls"/> does not hold what it
    /// should.</exception>
    public DeviceClient(DeviceClientOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        this.options = options;
        time = options.TimeProvider;
        key = [.. options.Key ?? []];
        channels = new ChannelList(options.Channels);
        tls = options.Tls is null ? null : new TlsIdentity(options.Tls, options.Host);
        custody = new Custody(options);
        commands = new CommandWorker(options.OnCommand);
    }

    /// <summary>Numbers of this moment.</summary>
    public DeviceClientStatus Status
    {
        get
        {
            lock (gate)
                return custody.Status(state, connects, gatewayTimeOffset);
        }
    }

    /// <summary>Begins to connect; goes on until <see cref="StopAsync"/>.</summary>
    /// <exception cref="InvalidOperationException">It was started or stopped before.</exception>
    public void Start()
    {
        lock (gate)
        {
            if (running is not null || stopping.IsCancellationRequested)
                throw new InvalidOperationException("a client is started once");
            running = Task.Run(RunAsync);
        }
    }

    /// <summary>
    /// Hands a DATA frame over. With <see cref="WhenFull.Wait"/> it waits while the memory is full, first come, first
    /// served; with <see cref="WhenFull.DropOldest"/> it never waits. It does not wait for the network.
    /// </summary>
    /// <param name="dataBody">
    /// A body made with <see cref="DataWriter"/>, up to 16 384 bytes; it is copied, and must stay as it is until the
    /// call has
    /// ended. The gateway looks at it, not the client: a malformed one comes back as refused.
    /// </param>
    /// <param name="cancellationToken">Ends the wait; the frame is not handed over then.</param>
    /// <returns>The frame's number, counted from 1: it names the frame in <see cref="FrameOutcome"/> and never changes,
    /// while its sequence does when the client must take a new boot id.</returns>
    /// <exception cref="ArgumentException">The body can never be kept: it is over the protocol's limit, or over the
    /// memory.</exception>
    /// <exception cref="InvalidOperationException">The client is stopped.</exception>
    /// <exception cref="OperationCanceledException">The wait was cancelled.</exception>
    public ValueTask<ulong> SendAsync(ReadOnlyMemory<byte> dataBody, CancellationToken cancellationToken = default) =>
        custody.AddAsync(dataBody, cancellationToken);

    /// <summary>As <see cref="SendAsync"/>, without waiting: false if the memory is full. Allocates nothing.</summary>
    /// <param name="dataBody">A body made with <see cref="DataWriter"/>; it is copied.</param>
    /// <param name="number">The frame's number; 0 if it was not taken.</param>
    /// <exception cref="ArgumentException">The body can never be kept.</exception>
    /// <exception cref="InvalidOperationException">The client is stopped.</exception>
    public bool TrySend(ReadOnlySpan<byte> dataBody, out ulong number) => custody.TryAdd(dataBody, out number);

    /// <summary>
    /// Waits until every frame handed over so far is acknowledged, refused or dropped, and its outcome told.
    /// </summary>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <exception cref="InvalidOperationException">The client is stopped, or is stopped before the end.</exception>
    /// <exception cref="OperationCanceledException">The wait was cancelled.</exception>
    public Task FlushAsync(CancellationToken cancellationToken = default) => custody.FlushAsync(cancellationToken);

    /// <summary>
    /// Adds or changes channels: for every frame not yet sent, and after every connect from now on. Frames kept from
    /// before
    /// come under the new names if they are sent again.
    /// </summary>
    /// <param name="added">The channels; the last entry for a number wins.</param>
    /// <exception cref="ArgumentException">A name, unit or type breaks a rule; nothing is changed then.</exception>
    public void Describe(IReadOnlyList<DescribedChannel> added)
    {
        ArgumentNullException.ThrowIfNull(added);
        var change = new ChannelList(added);
        lock (gate)
        {
            channels.Add(added);
            connection?.Describe(change);
        }
    }

    /// <summary>
    /// Breaks the connection to the gateway at once, if there is one; the client connects again. For tests and
    /// simulated faults.
    /// </summary>
    public void DropConnection()
    {
        Connection? current;
        lock (gate)
            current = connection;
        current?.End(Endings.Dropped);
    }

    /// <summary>
    /// Says BYE and closes, for good. Waits for nothing to be acknowledged: <see cref="FlushAsync"/> does that before.
    /// What is not acknowledged stays counted in <see cref="Status"/>. Whoever waits in SendAsync or FlushAsync gets an
    /// <see cref="InvalidOperationException"/>.
    /// </summary>
    /// <param name="cancellationToken">Ends the courtesy: the connection is cut.</param>
    /// <exception cref="OperationCanceledException">It was cancelled before the gateway had closed its
    /// side.</exception>
    /// <remarks>What a callback threw to end the client comes out here.</remarks>
    public async Task StopAsync(CancellationToken cancellationToken = default)
    {
        custody.Stop(new InvalidOperationException("the client is stopped"));
        await stopping.CancelAsync().ConfigureAwait(false);
        Task? run;
        Connection? current;
        lock (gate)
            (run, current) = (running, connection);
        current?.End(Endings.Stopped, ByeReason.Normal);
        if (run is null)
        {
            Enter(new DeviceClientState(DeviceClientPhase.Stopped));
            return;
        }

        try
        {
            await run.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            current?.End(Endings.Stopped);
            throw;
        }
    }

    /// <summary>Stops the client as <see cref="StopAsync"/> does, and forgets its key.</summary>
    public async ValueTask DisposeAsync()
    {
        try
        {
            await StopAsync().ConfigureAwait(false);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(key);
            tls?.Dispose();
        }
    }
}
