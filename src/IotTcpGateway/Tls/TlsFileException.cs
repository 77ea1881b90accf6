namespace IotTcpGateway.Tls;

/// <summary>A file that TLS needs cannot be used.</summary>
internal sealed class TlsFileException(string key, string file, string why, string remedy)
    : IOException($"{file}: {why}; {remedy}")
{
    /// <summary>Key of the section that names the file.</summary>
    public string Key { get; } = key;

    public string File { get; } = file;

    public string Why { get; } = why;

    public string Remedy { get; } = remedy;
}
