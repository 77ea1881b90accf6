using System.CommandLine;

namespace IotTcpGateway.Cli;

internal static class SimulateCommand
{
    public static Command Create() => new("simulate", "");
}
