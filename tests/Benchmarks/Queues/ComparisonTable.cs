using System.Globalization;
using System.Text;

namespace IotTcpGateway.Benchmarks.Queues;

/// <summary>Medians of all rounds, side by side, as a table for docs/performance.md.</summary>
internal static class ComparisonTable
{
    private sealed record Row(string Name, Func<Figures, double> Value, string Format, bool HasRange = false);

    private static readonly Row[] WriteRows =
    [
        new("records/s", f => f[Figure.Rate], "N0", HasRange: true),
        new("written by the program, B a record", f => f[Figure.WrittenBytes] / f[Figure.Records], "N0"),
        new("— of it records, headers, cursor", f => f[Figure.RecordBytes] / f[Figure.Records], "N0"),
        new("— of it zeros ahead", f => f[Figure.ZeroBytes] / f[Figure.Records], "N0"),
        new("reached the device, B a record", f => f[Figure.DeviceBytes] / f[Figure.Records], "N0", HasRange: true),
        new("write requests to the device a commit", f => f[Figure.DeviceRequests] / f[Figure.Commits], "N1"),
        new("flushes of the device a commit", f => f[Figure.DeviceFlushes] / f[Figure.Commits], "N1"),
        new("`write_bytes` of the process, B a record", f => f[Figure.DirtiedBytes] / f[Figure.Records], "N0"),
    ];

    private static readonly Row[] ReadRows =
    [
        new("files afterwards, B a record", f => f[Figure.FileBytes] / f[Figure.Records], "N0"),
        new("read back, cached, records/s", f => f[Figure.ReplayCached], "N0"),
        new("read back, pages dropped, records/s", f => f[Figure.ReplayFromDisk], "N0"),
    ];

    public static string Head(string directory)
    {
        string[]? device = Machine.DeviceOf(directory);
        string name = device is null ? "no block device: nothing is known of what reaches it" : $"device {device[2]}";
        return $"{name}; {Environment.ProcessorCount} cores, Linux {Environment.OSVersion.Version}, "
            + $".NET {Environment.Version}, SQLite {SqliteQueue.Version}, {Workloads.PayloadBytes}-byte payloads";
    }

    public static string Text(List<(Job Job, Figures Figures)> results, string[] engines)
    {
        double idle = Median(results.Where(r => r.Job.Workload == Workload.Idle)
            .Select(r => r.Figures[Figure.PeakKibibytes]));
        var text = new StringBuilder();
        foreach (var jobs in results.Where(r => r.Job.Workload != Workload.Idle)
            .GroupBy(r => (r.Job.Workload, r.Job.Group)))
        {
            string what = jobs.Key.Workload == Workload.Append
                ? "append and commit"
                : "as a queue: append, commit, read, remove, durably";
            string names = string.Join(" | ", engines);
            text.AppendLine($"\n| {what}, {jobs.Key.Group} a commit | {names} | ratio |");
            text.AppendLine("|---|---|---|---|---|");
            var memory = new Row("resident at its peak above an idle process, MiB",
                f => (f[Figure.PeakKibibytes] - idle) / 1024, "N1");
            Row[] reads = jobs.Key.Workload == Workload.Append ? ReadRows : [];
            foreach (Row row in (Row[])[.. WriteRows, .. reads, memory])
                text.AppendLine(Line(row, [.. jobs], engines));
        }

        text.Append($"\nratio: {engines[0]} to {engines[^1]}; an idle process: {idle / 1024:N1} MiB");
        return text.ToString();
    }

    public static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length == 0 ? double.NaN : (sorted[sorted.Length / 2] + sorted[(sorted.Length - 1) / 2]) / 2;
    }

    private static string Line(Row row, (Job Job, Figures Figures)[] results, string[] engines)
    {
        double[][] values = [.. engines.Select(engine =>
            results.Where(r => r.Job.Engine == engine).Select(r => row.Value(r.Figures)).ToArray())];
        double ratio = Median(values[0]) / Median(values[^1]);
        string cells = string.Join(" | ", values.Select(v => Cell(row, v)));
        return $"| {row.Name} | {cells} | {(double.IsFinite(ratio) ? $"{ratio:0.00}" : "")} |";
    }

    private static string Cell(Row row, double[] values)
    {
        double median = Median(values);
        if (double.IsNaN(median))
            return "";
        string text = Number(median);
        return row.HasRange ? $"{text} ({Number(values.Min())}–{Number(values.Max())})" : text;

        string Number(double value) => value.ToString(row.Format, CultureInfo.InvariantCulture).Replace(',', ' ');
    }
}
