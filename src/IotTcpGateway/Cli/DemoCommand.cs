using System.CommandLine;

namespace IotTcpGateway.Cli;

internal static class DemoCommand
{
    public static Command Create() => new("demo", "");
}
