using IotTcpGateway.Files;

using Xunit;

namespace IotTcpGateway.Tests.Files;

public sealed class AtomicFileTests : IDisposable
{
    private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("iotgw-test-");

    public void Dispose() => directory.Delete(recursive: true);

    [Fact]
    public void Write_NewAndOld_ReplacesTheWholeFile()
    {
        string path = Path.Combine(directory.FullName, "file");
        AtomicFile.Write(path, "a longer content"u8);
        AtomicFile.Write(path, "short"u8);
        Assert.Equal("short", File.ReadAllText(path));
        Assert.Equal(["file"], directory.GetFiles().Select(f => f.Name));
    }

    [Fact]
    public void Write_LeftoverOfAPowerCut_IsNoObstacle()
    {
        string path = Path.Combine(directory.FullName, "file");
        File.WriteAllText(path + ".new", "half");
        AtomicFile.Write(path, "whole"u8);
        Assert.Equal("whole", File.ReadAllText(path));
    }

    [Fact]
    public void Write_NewDirectory_IsTheOwnersAlone()
    {
        string below = Path.Combine(directory.FullName, "below");
        AtomicFile.Write(Path.Combine(below, "file"), "x"u8);
        Assert.Equal(
            UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute, File.GetUnixFileMode(below));
    }

    [Fact]
    public void Write_WhereItCannot_ThrowsAndTheOldFileStands()
    {
        string path = Path.Combine(directory.FullName, "file");
        AtomicFile.Write(path, "old"u8);
        Directory.CreateDirectory(path + ".new");
        Assert.ThrowsAny<Exception>(() => AtomicFile.Write(path, "new"u8));
        Assert.Equal("old", File.ReadAllText(path));
    }
}
