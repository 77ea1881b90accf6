using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace IotTcpGateway.Health;

/// <summary>
/// Gathers what the meter's instruments report and writes it as Prometheus text. Counters with tags and histograms are
/// kept here; observable instruments are asked when somebody looks. Safe for several threads.
/// </summary>
internal sealed class MetricsRegistry : IDisposable
{
    private const int SeriesMax = 2000;

    private readonly Lock gate = new();
    private readonly MeterListener listener = new();
    private readonly SortedDictionary<string, Family> families = new(StringComparer.Ordinal);

    public MetricsRegistry(Meter meter)
    {
        Meter = meter;
        listener.InstrumentPublished = (instrument, target) =>
        {
            if (!ReferenceEquals(instrument.Meter, meter))
                return;
            lock (gate)
            {
                if (!families.TryGetValue(instrument.Name, out Family? family))
                    families.Add(instrument.Name, family = new Family(instrument));
                target.EnableMeasurementEvents(instrument, family);
            }
        };
        listener.SetMeasurementEventCallback<long>((_, value, tags, state) => Take(value, tags, state));
        listener.SetMeasurementEventCallback<int>((_, value, tags, state) => Take(value, tags, state));
        listener.SetMeasurementEventCallback<double>((_, value, tags, state) => Take(value, tags, state));
        listener.Start();
    }

    /// <summary>Whose instruments these are.</summary>
    public Meter Meter { get; }

    /// <summary>All metrics in the Prometheus text format, version 0.0.4.</summary>
    public string Write()
    {
        lock (gate)
        {
            listener.RecordObservableInstruments();
            var text = new StringBuilder(4096);
            foreach (Family family in families.Values)
                family.Write(text);
            return text.ToString();
        }
    }

    /// <summary>The histogram of this name, as it stands now; null if there is none.</summary>
    public long[]? HistogramOf(string name)
    {
        lock (gate)
            return families.TryGetValue(name, out Family? family) ? (long[])family.Buckets.Clone() : null;
    }

    /// <inheritdoc/>
    public void Dispose() => listener.Dispose();

    private void Take(double value, ReadOnlySpan<KeyValuePair<string, object?>> tags, object? state)
    {
        var family = (Family)state!;
        lock (gate)
            family.Take(value, tags);
    }

    private sealed class Family(Instrument instrument)
    {
        private readonly Dictionary<string, double> series = new(StringComparer.Ordinal);
        private readonly bool isHistogram = instrument is Histogram<double>;
        private readonly bool isAdded = instrument is Counter<long>;
        private double sum;

        public long[] Buckets { get; } = new long[instrument is Histogram<double> ? SafeBuckets.Bounds.Length + 1 : 0];

        public void Take(double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            if (isHistogram)
            {
                Buckets[SafeBuckets.IndexOf(value)]++;
                sum += value;
                return;
            }

            string labels = LabelsOf(tags);
            double before = isAdded ? series.GetValueOrDefault(labels) : 0;
            if (series.Count < SeriesMax || series.ContainsKey(labels))
                series[labels] = before + value;
        }

        public void Write(StringBuilder text)
        {
            string kind = isHistogram ? "histogram" : isAdded || instrument is ObservableCounter<long> ? "counter" : "gauge";
            text.Append("# HELP ").Append(instrument.Name).Append(' ').Append(instrument.Description).Append('\n')
                .Append("# TYPE ").Append(instrument.Name).Append(' ').Append(kind).Append('\n');
            if (isHistogram)
                WriteHistogram(text);
            foreach ((string labels, double value) in series)
                text.Append(instrument.Name).Append(labels).Append(' ').Append(Number(value)).Append('\n');
        }

        private void WriteHistogram(StringBuilder text)
        {
            long total = 0;
            for (int i = 0; i < Buckets.Length; i++)
            {
                total += Buckets[i];
                string bound = i < SafeBuckets.Bounds.Length ? Number(SafeBuckets.Bounds[i]) : "+Inf";
                text.Append(CultureInfo.InvariantCulture, $"{instrument.Name}_bucket{{le=\"{bound}\"}} {total}\n");
            }

            text.Append(CultureInfo.InvariantCulture, $"{instrument.Name}_sum {Number(sum)}\n{instrument.Name}_count {total}\n");
        }

        private static string LabelsOf(ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            if (tags.IsEmpty)
                return "";
            var text = new StringBuilder("{");
            foreach ((string key, object? value) in tags)
            {
                string escaped = $"{value}".Replace("\\", "\\\\").Replace("\"", "\\\"").Replace("\n", "\\n");
                text.Append(text.Length > 1 ? "," : "").Append(key).Append("=\"").Append(escaped).Append('"');
            }

            return text.Append('}').ToString();
        }

        private static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);
    }
}
