using System.Net.Sockets;

namespace IotTcpGateway.Ingest;

/// <summary>What to do after accept(2) failed.</summary>
internal enum AfterAcceptError
{
    /// <summary>The peer or its network failed before the connection was ours: the next one, please.</summary>
    AcceptNext,

    /// <summary>
    /// The machine is out of something: accepting again at once would spin. Those who are here go on.
    /// </summary>
    Pause,

    /// <summary>The listening socket itself is gone: the gateway cannot do its work.</summary>
    GiveUp,
}

/// <summary>Sorts the errors of accept(2) by what helps.</summary>
internal static class AcceptErrors
{
    public static AfterAcceptError Next(SocketError error) => error switch
    {
        // accept(2): pending network errors of the new connection are passed on, to be treated like EAGAIN.
        SocketError.ConnectionAborted or SocketError.ConnectionReset or SocketError.ConnectionRefused
            or SocketError.TimedOut or SocketError.HostUnreachable or SocketError.NetworkUnreachable
            or SocketError.NetworkDown or SocketError.HostDown or SocketError.ProtocolOption
            or SocketError.OperationNotSupported or SocketError.Interrupted or SocketError.WouldBlock
            or SocketError.AccessDenied => AfterAcceptError.AcceptNext,
        SocketError.NotSocket or SocketError.InvalidArgument or SocketError.OperationAborted => AfterAcceptError.GiveUp,
        // EMFILE, ENFILE, ENOBUFS, ENOMEM, and what nobody thought of.
        _ => AfterAcceptError.Pause,
    };
}
