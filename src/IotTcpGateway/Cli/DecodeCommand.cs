using System.CommandLine;

namespace IotTcpGateway.Cli;

internal static class DecodeCommand
{
    public static Command Create() => new("decode", "");
}
