using System.Net;
using System.Net.Sockets;

namespace IotTcpGateway.TestKit;

/// <summary>Ports on loopback.</summary>
public static class Loopback
{
    /// <summary>A port that is free now, for programs that cannot tell which one the system gave them.</summary>
    public static int FreePort()
    {
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        probe.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)probe.LocalEndPoint!).Port;
    }
}
