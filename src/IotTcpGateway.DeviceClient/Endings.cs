using System.Text;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.DeviceClient;

/// <summary>The ways a connection ends, in words.</summary>
internal static class Endings
{
    public static readonly ConnectionEnd Stopped = new(ConnectionEndKind.Stopped, "the client was stopped");
    public static readonly ConnectionEnd Dropped = new(ConnectionEndKind.DroppedOnRequest, "dropped on request");
    public static readonly ConnectionEnd Closed = new(ConnectionEndKind.Lost, "the gateway closed the connection");
    public static readonly ConnectionEnd Silent = new(ConnectionEndKind.Silence, "nothing came for the idle timeout");
    public static readonly ConnectionEnd Torn = Breach("a frame was begun and not ended in time");
    public static readonly ConnectionEnd Flooded = Breach("more is asked for than can be answered");
    public static readonly ConnectionEnd BadTag = Breach("a tag is missing or wrong");
    public static readonly ConnectionEnd UsedUp = new(ConnectionEndKind.SequencesUsedUp, "no sequence left");

    public static readonly ConnectionEnd HandshakeTimedOut =
        new(ConnectionEndKind.HandshakeTimedOut, "no WELCOME within the connect timeout");

    public static readonly ConnectionEnd BootIdReused =
        new(ConnectionEndKind.BootIdReused, "the gateway has seen this boot id before") { NeedsNewBoot = true };

    public static ConnectionEnd Lost(Exception cause) => new(ConnectionEndKind.Lost, cause.Message);

    public static ConnectionEnd BadFrame(FrameReadResult result) => Breach($"not a frame: {result}");

    public static ConnectionEnd Unexpected(FrameType type) => Breach($"unexpected frame {type}");

    public static ConnectionEnd Malformed(FrameType type) => Breach($"malformed {type}");

    public static ConnectionEnd OfBye(ByeReason reason) =>
        new(ConnectionEndKind.Bye, $"the gateway said BYE: {reason}") { Bye = reason };

    public static ConnectionEnd OfRefuse(in Refuse refuse, bool isAuthenticated)
    {
        bool isBoot = refuse.Reason == RefuseReason.BootIdReused && isAuthenticated;
        return new ConnectionEnd(
            isBoot ? ConnectionEndKind.BootIdReused : ConnectionEndKind.Refused, Encoding.UTF8.GetString(refuse.Text))
        {
            Refuse = refuse.Reason,
            RetryAfter = TimeSpan.FromSeconds(refuse.RetryAfterSeconds),
            NeedsNewBoot = isBoot,
        };
    }

    private static ConnectionEnd Breach(string detail) => new(ConnectionEndKind.ProtocolError, detail);
}
