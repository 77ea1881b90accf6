using System.Globalization;

namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>What can be measured; bytes are of all records together.</summary>
internal enum Figure
{
    Records,
    Commits,
    Rate,
    RecordBytes,
    ZeroBytes,
    WrittenBytes,
    DirtiedBytes,
    DeviceBytes,
    DeviceRequests,
    DeviceFlushes,
    FileBytes,
    ReplayFromDisk,
    ReplayCached,
    PeakKibibytes,
    GrownKibibytes,
    OpenSeconds,
    ReadBytes,
    AllocatedBytes,
}

/// <summary>What one child process measured, and how it tells its parent.</summary>
internal sealed class Figures
{
    private readonly Dictionary<Figure, double> values = [];

    public double this[Figure figure]
    {
        get => values.GetValueOrDefault(figure, double.NaN);
        set => values[figure] = value;
    }

    public static Figures Parse(string text)
    {
        var figures = new Figures();
        foreach (string line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            string[] parts = line.Split(' ');
            figures[Enum.Parse<Figure>(parts[0])] = double.Parse(parts[1], CultureInfo.InvariantCulture);
        }

        return figures;
    }

    public override string ToString() =>
        string.Join('\n', values.Select(v => string.Create(CultureInfo.InvariantCulture, $"{v.Key} {v.Value:R}")));
}
