using System.Diagnostics.Metrics;

namespace IotTcpGateway.Ingest;

/// <summary>What ingest counts. The plain numbers serve the status; the instruments serve the metrics.</summary>
internal sealed class IngestMetrics
{
    private readonly Counter<long> rejected;
    private readonly Counter<long> refused;
    private readonly Counter<long> closed;
    private readonly Counter<long> tlsHandshakes;
    private long framesReceived;
    private long framesRejected;
    private long duplicates;
    private long gaps;
    private long authenticationFailures;
    private long bytesReceived;

    public IngestMetrics(
        Meter meter,
        Func<long> connections,
        Func<int> pending,
        Func<IEnumerable<Measurement<long>>> certificateExpiries)
    {
        meter.CreateObservableGauge("iotgw_connections", connections, null, "Connections open now.");
        meter.CreateObservableGauge("iotgw_devices_pending", pending, null, "Devices that wait for approval.");
        meter.CreateObservableCounter(
            "iotgw_frames_received_total", () => FramesReceived, null, "DATA frames taken, duplicates not counted.");
        meter.CreateObservableCounter(
            "iotgw_frames_duplicate_total",
            () => Duplicates,
            null,
            "DATA frames received again and not forwarded again.");
        meter.CreateObservableCounter(
            "iotgw_sequence_gaps_total", () => Gaps, null, "Jumps forward in a device's sequences.");
        meter.CreateObservableCounter(
            "iotgw_authentication_failures_total",
            () => AuthenticationFailures,
            null,
            "Devices refused for who they are.");
        meter.CreateObservableCounter(
            "iotgw_received_bytes_total", () => BytesReceived, null, "Bytes received from devices.");
        rejected = meter.CreateCounter<long>("iotgw_frames_rejected_total", null, "Frames rejected, by reason.");
        refused = meter.CreateCounter<long>("iotgw_connections_refused_total", null, "Connections refused, by reason.");
        closed = meter.CreateCounter<long>("iotgw_connections_closed_total", null, "Connections ended, by reason.");
        tlsHandshakes = meter.CreateCounter<long>("iotgw_tls_handshakes_total", null, "TLS handshakes, by result.");
        meter.CreateObservableGauge(
            "iotgw_tls_certificate_expiry_seconds",
            certificateExpiries,
            null,
            "Seconds until a listener's own certificate ends.");
    }

    public long FramesReceived => Volatile.Read(ref framesReceived);

    public long FramesRejected => Volatile.Read(ref framesRejected);

    public long Duplicates => Volatile.Read(ref duplicates);

    public long Gaps => Volatile.Read(ref gaps);

    public long AuthenticationFailures => Volatile.Read(ref authenticationFailures);

    public long BytesReceived => Volatile.Read(ref bytesReceived);

    public void FrameReceived() => Interlocked.Increment(ref framesReceived);

    public void DuplicateReceived() => Interlocked.Increment(ref duplicates);

    public void GapSeen() => Interlocked.Increment(ref gaps);

    public void AuthenticationFailed() => Interlocked.Increment(ref authenticationFailures);

    public void Received(int bytes) => Interlocked.Add(ref bytesReceived, bytes);

    public void FrameRejected(string reason)
    {
        Interlocked.Increment(ref framesRejected);
        rejected.Add(1, new KeyValuePair<string, object?>("reason", reason));
    }

    public void ConnectionRefused(string reason) => refused.Add(1, new KeyValuePair<string, object?>("reason", reason));

    public void ConnectionClosed(string reason) => closed.Add(1, new KeyValuePair<string, object?>("reason", reason));

    public void TlsHandshake(bool isGood) =>
        tlsHandshakes.Add(1, new KeyValuePair<string, object?>("result", isGood ? "ok" : "failed"));
}
