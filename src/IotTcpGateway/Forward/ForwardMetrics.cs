using System.Diagnostics.Metrics;

using IotTcpGateway.Buffer;

namespace IotTcpGateway.Forward;

/// <summary>What forwarding counts.</summary>
internal sealed class ForwardMetrics
{
    private readonly Counter<long> refused;
    private long published;
    private long gapReports;
    private long reconnects;
    private int isConnected;
    private int inFlight;
    private int devicesWaiting;
    private long bytesHeld;

    public ForwardMetrics(Meter meter, DropLedger? ledger = null)
    {
        meter.CreateObservableCounter(
            "iotgw_messages_published_total", () => Published, null, "Messages that the broker confirmed.");
        meter.CreateObservableGauge(
            "iotgw_mqtt_connected", () => IsConnected ? 1 : 0, null, "1 while the broker link is up.");
        meter.CreateObservableCounter(
            "iotgw_mqtt_reconnects_total", () => Reconnects, null, "Times that the broker link was made anew.");
        meter.CreateObservableGauge(
            "iotgw_mqtt_in_flight", () => InFlight, null, "Messages published and not yet confirmed.");
        meter.CreateObservableGauge(
            "iotgw_mqtt_in_flight_bytes", () => BytesHeld, null, "Bytes of messages in flight or being made.");
        meter.CreateObservableGauge(
            "iotgw_mqtt_devices_waiting", () => DevicesWaiting, null, "Devices that the broker refuses for now.");
        meter.CreateObservableCounter(
            "iotgw_gap_reports_published_total", () => GapReports, null, "Gap reports that the broker confirmed.");
        meter.CreateObservableCounter(
            "iotgw_ledger_entries_total", () => ledger?.Entries ?? 0, null, "Entries made in the ledger of drops.");
        meter.CreateObservableCounter(
            "iotgw_ledger_entries_forgotten_total",
            () => ledger?.EntriesForgotten ?? 0,
            null,
            "Entries of the ledger that were lost before they were told.");
        refused = meter.CreateCounter<long>(
            "iotgw_mqtt_refused_total", null, "Messages that the broker refused, by reason.");
    }

    public long Published => Volatile.Read(ref published);

    public long GapReports => Volatile.Read(ref gapReports);

    public long Reconnects => Volatile.Read(ref reconnects);

    public bool IsConnected
    {
        get => Volatile.Read(ref isConnected) != 0;
        set => Volatile.Write(ref isConnected, value ? 1 : 0);
    }

    public int InFlight
    {
        get => Volatile.Read(ref inFlight);
        set => Volatile.Write(ref inFlight, value);
    }

    public int DevicesWaiting
    {
        get => Volatile.Read(ref devicesWaiting);
        set => Volatile.Write(ref devicesWaiting, value);
    }

    public long BytesHeld
    {
        get => Volatile.Read(ref bytesHeld);
        set => Volatile.Write(ref bytesHeld, value);
    }

    public void MessageConfirmed() => Interlocked.Increment(ref published);

    public void GapReportConfirmed() => Interlocked.Increment(ref gapReports);

    public void Reconnected() => Interlocked.Increment(ref reconnects);

    public void MessageRefused(string reason) => refused.Add(1, new KeyValuePair<string, object?>("reason", reason));
}
