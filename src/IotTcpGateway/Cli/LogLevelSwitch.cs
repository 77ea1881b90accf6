using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Cli;

/// <summary>The lowest level that is logged; can be changed while running.</summary>
internal sealed class LogLevelSwitch(LogLevel lowest)
{
    private int lowest = (int)lowest;

    public bool Allows(LogLevel level) => (int)level >= Volatile.Read(ref lowest);

    public void Set(LogLevel level) => Volatile.Write(ref lowest, (int)level);
}
