namespace IotTcpGateway.Fuzz;

/// <summary>Files for targets that read by name: in memory, where the system has such a place.</summary>
internal static class ScratchFiles
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode OwnersDirectory = OwnerOnly | UnixFileMode.UserExecute;

    private static readonly string Directory = Make();

    public static string New(string name) => Path.Combine(Directory, name);

    public static void Write(string file, ReadOnlySpan<byte> content)
    {
        using FileStream stream = new(file, new FileStreamOptions
        {
            Mode = FileMode.Create,
            Access = FileAccess.Write,
            UnixCreateMode = OwnerOnly,
        });
        stream.Write(content);
    }

    private static string Make()
    {
        string parent = System.IO.Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath();
        string made = Path.Combine(parent, $"iotgw-fuzz-{Environment.ProcessId}");
        System.IO.Directory.CreateDirectory(made, OwnersDirectory);
        AppDomain.CurrentDomain.ProcessExit += (_, _) => System.IO.Directory.Delete(made, recursive: true);
        return made;
    }
}
