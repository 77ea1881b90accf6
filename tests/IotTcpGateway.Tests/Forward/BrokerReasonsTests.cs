using System.Net.Sockets;
using IotTcpGateway.Escaping;
using IotTcpGateway.Forward;
using MQTTnet.Exceptions;
using MQTTnet.Packets;
using MQTTnet.Protocol;
using Xunit;

namespace IotTcpGateway.Tests.Forward;

public sealed class BrokerReasonsTests
{
    // MQTT 5, section 2.4; 1 to 5 are MQTT 3.1.1, section 3.2.2.3.
    private static readonly Dictionary<int, LinkEvent> ConnAckCodes = new()
    {
        [0x01] = LinkEvent.VersionRefused, // 3.1.1: unacceptable protocol version
        [0x02] = LinkEvent.Unwelcome, // 3.1.1: identifier rejected
        [0x03] = LinkEvent.Unavailable, // 3.1.1: server unavailable
        [0x04] = LinkEvent.Unwelcome, // 3.1.1: bad user name or password
        [0x05] = LinkEvent.Unwelcome, // 3.1.1: not authorized
        [0x80] = LinkEvent.Unavailable, // unspecified error
        [0x81] = LinkEvent.Unwelcome, // malformed packet
        [0x82] = LinkEvent.Unwelcome, // protocol error
        [0x83] = LinkEvent.Unavailable, // implementation specific
        [0x84] = LinkEvent.VersionRefused, // unsupported protocol version
        [0x85] = LinkEvent.Unwelcome, // client identifier not valid
        [0x86] = LinkEvent.Unwelcome, // bad user name or password
        [0x87] = LinkEvent.Unwelcome, // not authorized
        [0x88] = LinkEvent.Unavailable, // server unavailable
        [0x89] = LinkEvent.Unavailable, // server busy
        [0x8A] = LinkEvent.Unwelcome, // banned
        [0x8C] = LinkEvent.Unwelcome, // bad authentication method
        [0x90] = LinkEvent.Unwelcome, // topic name invalid: the will's
        [0x95] = LinkEvent.Unwelcome, // packet too large
        [0x97] = LinkEvent.Unavailable, // quota exceeded
        [0x99] = LinkEvent.Unwelcome, // payload format invalid: the will's
        [0x9A] = LinkEvent.Unwelcome, // retain not supported
        [0x9B] = LinkEvent.Unwelcome, // QoS not supported
        [0x9C] = LinkEvent.Unavailable, // use another server
        [0x9D] = LinkEvent.Unavailable, // server moved
        [0x9F] = LinkEvent.Unavailable, // connection rate exceeded
    };

    private static readonly Dictionary<int, LinkEvent> DisconnectCodes = new()
    {
        [0x00] = LinkEvent.Closed, // normal
        [0x80] = LinkEvent.Closed, // unspecified error
        [0x81] = LinkEvent.Closed, // malformed packet
        [0x82] = LinkEvent.Closed, // protocol error
        [0x83] = LinkEvent.Closed, // implementation specific
        [0x87] = LinkEvent.Closed, // not authorized
        [0x89] = LinkEvent.Unavailable, // server busy
        [0x8B] = LinkEvent.Unavailable, // server shutting down
        [0x8C] = LinkEvent.Unwelcome, // bad authentication method
        [0x8D] = LinkEvent.Lost, // keep-alive timeout
        [0x8E] = LinkEvent.TakenOver, // session taken over
        [0x8F] = LinkEvent.Lost, // topic filter invalid
        [0x90] = LinkEvent.Closed, // topic name invalid
        [0x93] = LinkEvent.Lost, // receive maximum exceeded
        [0x94] = LinkEvent.Lost, // topic alias invalid
        [0x95] = LinkEvent.Closed, // packet too large
        [0x96] = LinkEvent.Unavailable, // message rate too high
        [0x97] = LinkEvent.Unavailable, // quota exceeded
        [0x98] = LinkEvent.Unavailable, // administrative action
        [0x99] = LinkEvent.Closed, // payload format invalid
        [0x9A] = LinkEvent.Unwelcome, // retain not supported
        [0x9B] = LinkEvent.Unwelcome, // QoS not supported
        [0x9C] = LinkEvent.Unavailable, // use another server
        [0x9D] = LinkEvent.Unavailable, // server moved
        [0x9E] = LinkEvent.Lost, // shared subscriptions not supported
        [0x9F] = LinkEvent.Unavailable, // connection rate exceeded
        [0xA0] = LinkEvent.Lost, // maximum connect time
        [0xA1] = LinkEvent.Lost, // subscription identifiers not supported
        [0xA2] = LinkEvent.Lost, // wildcard subscriptions not supported
    };

    private static readonly Dictionary<int, Verdict> PubAckCodes = new()
    {
        [0x00] = Verdict.Confirmed, // success
        [0x10] = Verdict.Confirmed, // no matching subscribers
        [0x80] = Verdict.RetryLater, // unspecified error
        [0x83] = Verdict.RetryLater, // implementation specific
        [0x87] = Verdict.RetryLater, // not authorized
        [0x90] = Verdict.Refused, // topic name invalid
        [0x91] = Verdict.RetryLater, // packet identifier in use
        [0x97] = Verdict.RetryLater, // quota exceeded
        [0x99] = Verdict.Refused, // payload format invalid
    };

    [Fact]
    public void OfConnAck_EveryCode_IsTheTableAndUnknownOnesAreUnavailable()
    {
        for (int code = 1; code <= byte.MaxValue; code++)
        {
            Assert.Equal(ConnAckCodes.GetValueOrDefault(code, LinkEvent.Unavailable), BrokerReasons.OfConnAck(code));
        }
    }

    [Fact]
    public void OfDisconnect_EveryCode_IsTheTableAndUnknownOnesAreClosed()
    {
        for (int code = 0; code <= byte.MaxValue; code++)
        {
            Assert.Equal(DisconnectCodes.GetValueOrDefault(code, LinkEvent.Closed), BrokerReasons.OfDisconnect(code));
        }
    }

    [Fact]
    public void OfPubAck_EveryCode_IsTheTableAndUnknownOnesAreTriedAgain()
    {
        for (int code = 0; code <= byte.MaxValue; code++)
        {
            Assert.Equal(PubAckCodes.GetValueOrDefault(code, Verdict.RetryLater), BrokerReasons.OfPubAck(code).Verdict);
        }
    }

    [Fact]
    public void OfFailure_DisconnectWhileMessagesAreInFlight_KeepsTheBrokersReason()
    {
        // Bug: what was in flight failed first, and hid the reason that the client's event brought later.
        var told = new MqttClientUnexpectedDisconnectReceivedException(
            new MqttDisconnectPacket { ReasonCode = MqttDisconnectReasonCode.SessionTakenOver, ReasonString = "a\nb" });
        Assert.Equal((LinkEvent.TakenOver, "DISCONNECT 0x8E a\\u000Ab"), BrokerReasons.OfFailure(told));
    }

    [Fact]
    public void OfFailure_ByWhatIsBehindIt_TellsClosingFromSilenceAndDefects()
    {
        Assert.Equal(LinkEvent.Closed, BrokerReasons.OfFailure(new MqttClientDisconnectedException(null)).Event);
        Assert.Equal(
            LinkEvent.Closed,
            BrokerReasons.OfFailure(new MqttCommunicationException(new SocketException((int)SocketError.ConnectionReset))).Event);
        Assert.Equal(LinkEvent.Overdue, BrokerReasons.OfFailure(new MqttCommunicationTimedOutException()).Event);
        Assert.Equal(LinkEvent.Lost, BrokerReasons.OfFailure(new MqttProtocolViolationException("x")).Event);
        Assert.Equal(
            LinkEvent.Lost,
            BrokerReasons.OfFailure(
                new MqttClientDisconnectedException(new MqttCommunicationException(new InboundPacketTooLargeException(1)))).Event);
    }

    [Fact]
    public void Clean_TextFromABroker_IsOneLineOfBoundedLength()
    {
        Assert.Equal("a\\u000Ab\\u001B[31m\\u2028", SafeText.Clean("a\nb\u001b[31m\u2028"));
        Assert.Equal("", SafeText.Clean(null));
        Assert.Equal(SafeText.CharactersMax + 1, SafeText.Clean(new string('x', 10_000)).Length);
    }
}
