namespace IotTcpGateway.Cli;

/// <summary>What the program exits with.</summary>
internal static class ExitCode
{
    public const int Fine = 0;

    /// <summary>The thing asked about is bad; of "run": a worker failed.</summary>
    public const int Bad = 1;

    public const int WrongUsage = 2;

    /// <summary>It could not run: a port, file or directory cannot be used.</summary>
    public const int CouldNotRun = 3;

    /// <summary>Bad configuration of "run": EX_CONFIG of sysexits(3), on which systemd must not restart.</summary>
    public const int BadConfiguration = 78;
}
