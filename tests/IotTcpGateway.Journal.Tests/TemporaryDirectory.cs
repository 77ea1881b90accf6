namespace IotTcpGateway.Journal.Tests;

/// <summary>A directory that is gone after the test.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("journal-").FullName;

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
