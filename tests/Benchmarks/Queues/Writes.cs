namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>What had been written before, by this process and to the device under its directory.</summary>
internal sealed class Writes
{
    private readonly string directory;
    private readonly IQueue queue;
    private readonly double written;
    private readonly double dirtied;
    private readonly (double Records, double Zeros) own;
    private readonly (double Bytes, double Requests, double Flushes) device;

    public Writes(string directory, IQueue queue)
    {
        this.directory = directory;
        this.queue = queue;
        Machine.SyncFileSystem(directory);
        own = queue.BytesWritten;
        written = Machine.Io("wchar");
        dirtied = Machine.Io("write_bytes");
        device = Machine.Written(directory);
    }

    public void Difference(Figures figures)
    {
        Machine.SyncFileSystem(directory);
        (double bytes, double requests, double flushes) = Machine.Written(directory);
        figures[Figure.WrittenBytes] = Machine.Io("wchar") - written;
        figures[Figure.DirtiedBytes] = Machine.Io("write_bytes") - dirtied;
        figures[Figure.RecordBytes] = queue.BytesWritten.Records - own.Records;
        figures[Figure.ZeroBytes] = queue.BytesWritten.Zeros - own.Zeros;
        figures[Figure.DeviceBytes] = bytes - device.Bytes;
        figures[Figure.DeviceRequests] = requests - device.Requests;
        figures[Figure.DeviceFlushes] = flushes - device.Flushes;
    }
}
