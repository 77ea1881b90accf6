using System.Diagnostics.Metrics;

using IotTcpGateway.Journal;

using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Buffer;

/// <summary>The buffer's part on disk, with the threads that write and read it.</summary>
internal sealed class BufferStore : IDisposable
{
    private const int PermissionDenied = 13;
    private const int NotPermitted = 1;

    private static readonly TimeSpan FlushStep = TimeSpan.FromMilliseconds(10);

    private readonly BufferOptions options;
    private readonly TimeProvider time;
    private readonly PosixBufferDirectory directory;
    private readonly BufferDisk disk;
    private readonly Spiller spiller;
    private readonly Pager pager;
    private readonly StepThread spilling;
    private readonly StepThread paging;
    private readonly int bootsMax;

    public BufferStore(
        RecordBuffer buffer,
        DropLedger ledger,
        BufferOptions options,
        LaneSettings settings,
        int bootsMax,
        TimeProvider time,
        Meter meter,
        ILogger logger)
    {
        this.options = options;
        this.time = time;
        this.bootsMax = bootsMax;
        directory = new PosixBufferDirectory(options.Directory);
        disk = new BufferDisk(directory, options, settings, buffer);
        spiller = new Spiller(buffer, disk, ledger, options, time, meter, logger);
        pager = new Pager(buffer, disk, time, spiller.Lost, ledger);
        spiller.ReadTrouble = () => pager.Trouble;
        spilling = new StepThread("spiller", spiller.Step, time);
        paging = new StepThread("pager", pager.Step, time);
        buffer.SpillDue += spilling.Wake;
        buffer.PageDue += paging.Wake;
    }

    public DiskStatus Status => spiller.Status;

    /// <summary>Fails as soon as one of its threads does.</summary>
    public Task Completion => Task.WhenAny(spilling.Completion, paging.Completion).Unwrap();

    /// <summary>
    /// Opens what is there from before the start, whatever state it is in, and says what was safe. A disk that refuses
    /// for now is tried again later.
    /// </summary>
    /// <exception cref="IOException">The directory will never do: it is another's, or no directory.</exception>
    public IEnumerable<CustodyEntry> Open()
    {
        var custody = new CustodyMemory(bootsMax);
        if (!spiller.TryOpen(custody) && WhyNever(disk.OpenError) is { } why)
            throw new IOException($"buffer.directory {options.Directory} cannot be used: {why}");
        return custody.Entries;
    }

    public void Start()
    {
        spilling.Start();
        paging.Start();
    }

    /// <summary>Puts on disk what is not safe, as far as the disk takes it within a time.</summary>
    public async Task FlushAsync(TimeSpan limit)
    {
        long since = time.GetTimestamp();
        spiller.BeginFlush();
        spilling.Wake();
        while (!spiller.IsFlushed && !spilling.Completion.IsCompleted && time.GetElapsedTime(since) < limit)
            await Task.Delay(FlushStep, time).ConfigureAwait(false);
    }

    /// <summary>Ends the threads and leaves behind what the next start is to know.</summary>
    public async Task StopAsync(TimeSpan limit)
    {
        Task stopped = Task.WhenAll(spilling.StopAsync(), paging.StopAsync());
        await Task.WhenAny(stopped, Task.Delay(limit, time)).ConfigureAwait(false);
        // A disk that hangs is left alone: what is synced is synced.
        if (stopped.IsCompletedSuccessfully)
            spiller.Finish();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        // A thread that hangs in the disk goes with the process.
        if (spilling.IsAlive || paging.IsAlive)
            return;
        pager.Dispose();
        disk.Dispose();
        directory.Dispose();
        spilling.Dispose();
        paging.Dispose();
    }

    private static string? WhyNever(DiskError error) => error.Errno switch
    {
        PosixBufferDirectory.InUse => "another gateway uses it; give each a directory of its own",
        PermissionDenied or NotPermitted => "permission denied; give it to the gateway's user, or name another one",
        PosixBufferDirectory.NotADirectory => "it is not a directory, or one above it is none; name another one",
        _ => null,
    };
}
