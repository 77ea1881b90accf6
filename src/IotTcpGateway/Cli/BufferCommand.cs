using System.CommandLine;

namespace IotTcpGateway.Cli;

/// <summary>iotgw buffer: what is on disk, whether a gateway runs on it or not.</summary>
internal static class BufferCommand
{
    public static Command Create()
    {
        var command = new Command(
            "buffer", "Look at the frames on disk, of a running gateway or a dead one; export them, or drop them.")
        {
            BufferStatusCommand.Create(),
            BufferVerifyCommand.Create(),
            BufferDumpCommand.Create(),
            BufferExportCommand.Create(),
            BufferDropCommand.Create(),
        };
        HelpWithExample.Add(command, "iotgw buffer status");
        return command;
    }
}
