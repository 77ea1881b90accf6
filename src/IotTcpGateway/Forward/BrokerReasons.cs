using System.Net.Sockets;

using IotTcpGateway.Escaping;

using MQTTnet;
using MQTTnet.Exceptions;

namespace IotTcpGateway.Forward;

/// <summary>What the broker's reason codes mean for the link and for a message. Pure tables.</summary>
internal static class BrokerReasons
{
    /// <summary>
    /// Of a CONNACK that refuses. Codes 1 to 5 are those of MQTT 3.1.1: a broker that does not know MQTT 5 answers with
    /// them.
    /// </summary>
    public static LinkEvent OfConnAck(int code) => code switch
    {
        0x01 or 0x84 => LinkEvent.VersionRefused,
        // Client id, user name and password, authorisation, ban, authentication method.
        0x02 or 0x04 or 0x05 or 0x85 or 0x86 or 0x87 or 0x8A or 0x8C => LinkEvent.Unwelcome,
        // Malformed, protocol error, will topic, will too large, will payload, retain, QoS: trying again will not help.
        0x81 or 0x82 or 0x90 or 0x95 or 0x99 or 0x9A or 0x9B => LinkEvent.Unwelcome,
        // Unavailable, busy, quota, use another server, moved, rate, and what is not told or not known.
        _ => LinkEvent.Unavailable,
    };

    /// <summary>Of a DISCONNECT.</summary>
    public static LinkEvent OfDisconnect(int code) => code switch
    {
        0x8E => LinkEvent.TakenOver,
        // Busy, shutting down, rate too high, quota, administrative action, use another server, moved, connection rate.
        0x89 or 0x8B or 0x96 or 0x97 or 0x98 or 0x9C or 0x9D or 0x9F => LinkEvent.Unavailable,
        // Authentication method, and what the gateway asks of every broker: retained messages and QoS 1.
        0x8C or 0x9A or 0x9B => LinkEvent.Unwelcome,
        // Keep-alive, topic filter, receive maximum, topic alias, connect time, subscriptions: no message's fault.
        0x8D or 0x8F or 0x93 or 0x94 or 0x9E or 0xA0 or 0xA1 or 0xA2 => LinkEvent.Lost,
        // Unspecified, malformed, protocol error, not authorised, topic name, too large, payload format: may be a
        // message's fault. Credentials that were withdrawn show at the next CONNACK.
        _ => LinkEvent.Closed,
    };

    /// <summary>Of what the MQTT client throws when the link goes.</summary>
    public static (LinkEvent Event, string Why) OfFailure(Exception? failure) => failure switch
    {
        null => (LinkEvent.Closed, "closed by the broker"),
        MqttClientUnexpectedDisconnectReceivedException { ReasonCode: { } code } told =>
            (OfDisconnect((int)code), Describe((int)code, told.ReasonString)),
        MqttClientDisconnectedException gone => OfFailure(gone.InnerException),
        MqttCommunicationTimedOutException => (LinkEvent.Overdue, "no answer in time"),
        _ => OfCause(failure.GetBaseException()),
    };

    /// <summary>Of the client's event that the link is gone.</summary>
    public static (LinkEvent Event, string Why) OfFailure(MqttClientDisconnectedEventArgs gone) =>
        gone.Exception is null && gone.Reason != MqttClientDisconnectReason.NormalDisconnection
            ? (OfDisconnect((int)gone.Reason), Describe((int)gone.Reason, gone.ReasonString))
            : OfFailure(gone.Exception);

    /// <summary>Of a PUBACK: what becomes of the message, and the metric's word for the reason.</summary>
    public static (Verdict Verdict, string Reason) OfPubAck(int code) => code switch
    {
        // Success, and no matching subscribers.
        0x00 or 0x10 => (Verdict.Confirmed, ""),
        0x83 => (Verdict.RetryLater, "implementation-specific"),
        0x87 => (Verdict.RetryLater, "not-authorized"),
        0x90 => (Verdict.Refused, "topic-name-invalid"),
        0x97 => (Verdict.RetryLater, "quota-exceeded"),
        0x99 => (Verdict.Refused, "payload-format-invalid"),
        _ => (Verdict.RetryLater, "unspecified"),
    };

    private static (LinkEvent Event, string Why) OfCause(Exception cause) => cause switch
    {
        InboundPacketTooLargeException => (LinkEvent.Lost, cause.Message),
        IOException or SocketException => (LinkEvent.Closed, SafeText.Clean(cause.Message)),
        _ => (LinkEvent.Lost, SafeText.Clean(cause.Message)),
    };

    private static string Describe(int code, string? reason) =>
        $"DISCONNECT 0x{code:X2} {SafeText.Clean(reason)}".TrimEnd();
}
