using MQTTnet.Exceptions;

namespace IotTcpGateway.Forward;

/// <summary>Why a link ended: the first cause counts, whoever names it.</summary>
internal sealed class LinkLoss(Signal signal)
{
    private Cause? cause;

    public bool HasHappened => Volatile.Read(ref cause) is not null;

    /// <summary>What happened; asked after <see cref="HasHappened"/>.</summary>
    public LinkEvent Event => Volatile.Read(ref cause)?.Event ?? LinkEvent.Lost;

    public string Why => Volatile.Read(ref cause)?.Why ?? "";

    public void Set(LinkEvent occurred, string why)
    {
        Interlocked.CompareExchange(ref cause, new Cause(occurred, why), null);
        signal.Set();
    }

    public void Set((LinkEvent Event, string Why) cause) => Set(cause.Event, cause.Why);

    /// <summary>
    /// What the client threw at a request. Only what it says of the connection is a cause; that it was gone, or taking
    /// itself apart, is none: the cause is on its way.
    /// </summary>
    public void Set(Exception thrown)
    {
        if (thrown is MqttCommunicationException and not MqttClientNotConnectedException)
            Set(BrokerReasons.OfFailure(thrown));
    }

    private sealed record Cause(LinkEvent Event, string Why);
}
