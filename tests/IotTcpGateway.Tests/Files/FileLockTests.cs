using IotTcpGateway.Files;

using Microsoft.Win32.SafeHandles;

using Xunit;

namespace IotTcpGateway.Tests.Files;

public sealed class FileLockTests : IDisposable
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("lock-");

    private string FilePath => Path.Combine(folder.FullName, ".lock");

    public void Dispose() => folder.Delete(recursive: true);

    [Fact]
    public void TryTake_HeldThenGivenBack_IsNullThenTaken()
    {
        using (SafeFileHandle? first = FileLock.TryTake(FilePath))
        {
            Assert.NotNull(first);
            Assert.Null(FileLock.TryTake(FilePath));
            Assert.True(FileLock.IsTaken(FilePath));
        }

        using SafeFileHandle? second = FileLock.TryTake(FilePath);
        Assert.NotNull(second);
    }

    [Fact]
    public async Task TryTake_OthersAskMeanwhile_IsTakenAllTheSame()
    {
        using var stopping = new CancellationTokenSource();
        Task asking = Task.Factory.StartNew(Ask, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        int refused = 0;
        for (int turn = 0; turn < 2000; turn++)
        {
            using SafeFileHandle? taken = FileLock.TryTake(FilePath);
            refused += taken is null ? 1 : 0;
        }

        await stopping.CancelAsync();
        await asking;
        Assert.Equal(0, refused);

        void Ask()
        {
            while (!stopping.IsCancellationRequested)
                FileLock.IsTaken(FilePath);
        }
    }

    [Fact]
    public void IsTaken_NobodyHasIt_ChangesNothing()
    {
        Assert.False(FileLock.IsTaken(FilePath));
        Assert.False(File.Exists(FilePath));
        File.WriteAllText(FilePath, "");
        Assert.False(FileLock.IsTaken(FilePath));
        using SafeFileHandle? taken = FileLock.TryTake(FilePath);
        Assert.NotNull(taken);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Take_LinkInItsPlace_IsRefusedAndWhatItPointsAtIsLeftAlone(bool isThere)
    {
        string elsewhere = Path.Combine(folder.FullName, "elsewhere");
        if (isThere)
            File.WriteAllText(elsewhere, "kept");
        File.CreateSymbolicLink(FilePath, elsewhere);
        Assert.Contains("is a link", Assert.Throws<IOException>(() => FileLock.TryTake(FilePath)).Message, StringComparison.Ordinal);
        Assert.Equal(isThere, File.Exists(elsewhere));
    }
}
