using IotTcpGateway.Files;

using Xunit;

namespace IotTcpGateway.Tests.Files;

public sealed class SecretFileTests : IDisposable
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("iotgw-secret-");
    private readonly SecretFile secret;

    public SecretFileTests() => secret = new SecretFile(Path.Combine(folder.FullName, "token"));

    public void Dispose() => folder.Delete(recursive: true);

    [Theory]
    [InlineData("open sesame")]
    [InlineData("open sesame\n")]
    [InlineData("open sesame\r\n")]
    public void Is_LineEndsInTheFile_DoNotCount(string content)
    {
        File.WriteAllText(secret.Path, content);
        Assert.Equal(SecretReading.Taken, secret.Read());
        Assert.True(secret.Is("open sesame"u8));
        Assert.Equal(SecretReading.Unchanged, secret.Read());
    }

    [Theory]
    [InlineData("")]
    [InlineData("open sesam")]
    [InlineData("open sesame ")]
    [InlineData("open sesame\n")]
    [InlineData("Open sesame")]
    public void Is_SomethingElse_IsNot(string presented)
    {
        File.WriteAllText(secret.Path, "open sesame\n");
        secret.Read();
        Assert.False(secret.Is(System.Text.Encoding.UTF8.GetBytes(presented)));
    }

    [Theory]
    [InlineData(null, "missing")]
    [InlineData("", "empty")]
    [InlineData("\n\n", "empty")]
    public void Is_NoSecret_NobodyHasIt(string? content, string problem)
    {
        File.WriteAllText(secret.Path, "before");
        secret.Read();
        if (content is null)
            File.Delete(secret.Path);
        else
            File.WriteAllText(secret.Path, content);
        Assert.Equal(SecretReading.Unusable, secret.Read());
        Assert.Contains(problem, secret.Problem, StringComparison.Ordinal);
        Assert.False(secret.Is("before"u8));
        Assert.False(secret.Is(""u8));
        Assert.Equal(SecretReading.Unchanged, secret.Read());
    }

    [Fact]
    public void Is_NotReadYet_NobodyHasIt() => Assert.False(secret.Is(""u8));

    [Fact]
    public void Read_TooLong_IsNotTaken()
    {
        File.WriteAllText(secret.Path, new string('x', SecretFile.BytesMax + 1));
        Assert.Equal(SecretReading.Unusable, secret.Read());
        Assert.False(secret.Is(System.Text.Encoding.ASCII.GetBytes(new string('x', SecretFile.BytesMax + 1))));
        Assert.False(secret.Is(System.Text.Encoding.ASCII.GetBytes(new string('x', SecretFile.BytesMax))));
    }

    [Fact]
    public void Read_Replaced_OldOneIsWorthNothing()
    {
        File.WriteAllText(secret.Path, "first");
        secret.Read();
        DateTime written = File.GetLastWriteTimeUtc(secret.Path);
        File.WriteAllText(secret.Path, "other");
        File.SetLastWriteTimeUtc(secret.Path, written);
        Assert.Equal(SecretReading.Taken, secret.Read());
        Assert.False(secret.Is("first"u8));
        Assert.True(secret.Is("other"u8));
    }
}
