using IotTcpGateway.Keys;

using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Keys;

public sealed class KeyRingTests : IDisposable
{
    private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("iotgw-test-");
    private readonly FakeTimeProvider time = new(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));
    private readonly List<LogLine> log = [];
    private readonly List<IReadOnlySet<string>> changes = [];
    private readonly KeyRing ring;

    public KeyRingTests()
    {
        ring = new KeyRing(FilePath, time, new ListLogger(log));
        ring.Changed += changes.Add;
    }

    private string FilePath => Path.Combine(directory.FullName, "devices.json");

    private KeyFile Keys => new(FilePath);

    public void Dispose()
    {
        ring.Dispose();
        directory.Delete(recursive: true);
    }

    [Fact]
    public void ChangedFile_IsTakenWithinASecondAndTellsOfWhom()
    {
        Keys.Add("a", time.GetUtcNow());
        byte[] b = Keys.Add("b", time.GetUtcNow());
        ring.Start();
        changes.Clear();

        byte[] rotated = Keys.Rotate("a", TimeSpan.Zero, time.GetUtcNow());
        Keys.Add("c", time.GetUtcNow());
        time.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal(["a", "c"], Assert.Single(changes).Order());
        Assert.Equal(rotated, ring.Find("a")!.Key);
        Assert.Equal(b, ring.Find("b")!.Key);
        Assert.Null(ring.Find("nobody"));
        Assert.Equal(3, ring.Count);
    }

    [Fact]
    public void ChangedPermissions_AreTold()
    {
        Keys.Add("a", time.GetUtcNow());
        Keys.Add("b", time.GetUtcNow());
        ring.Start();
        changes.Clear();
        Keys.Permit("a", before => before with { Channels = ["t"] });
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(["a"], Assert.Single(changes));
        Assert.Equal(["t"], ring.Find("a")!.Permissions.Channels);
    }

    [Fact]
    public void EndOfAnOverlap_IsTakenWithinASecondWithoutAChangeOfTheFile()
    {
        Keys.Add("a", time.GetUtcNow());
        Keys.Rotate("a", TimeSpan.FromHours(1), time.GetUtcNow());
        ring.Start();
        changes.Clear();
        time.Advance(TimeSpan.FromMinutes(59));
        Assert.NotNull(ring.Find("a")!.Former);
        Assert.Empty(changes);
        time.Advance(TimeSpan.FromMinutes(1) + TimeSpan.FromSeconds(1));
        Assert.Null(ring.Find("a")!.Former);
        Assert.Equal(["a"], Assert.Single(changes));
    }

    [Fact]
    public void DamagedFile_LetsNobodyInLoudlyAndRecovers()
    {
        byte[] a = Keys.Add("a", time.GetUtcNow());
        ring.Start();
        changes.Clear();
        byte[] right = File.ReadAllBytes(FilePath);

        File.WriteAllText(FilePath, "damaged");
        time.Advance(TimeSpan.FromSeconds(2));
        Assert.False(ring.IsReadable);
        // Everybody is revoked: who proves a key fails, and who comes without proof is refused.
        Assert.Equal((null, true), (ring.Find("unknown")!.Key, ring.Find("unknown")!.Revoked is not null));
        Assert.Equal((null, true), (ring.Find("a")!.Key, ring.Find("a")!.Revoked is not null));
        Assert.Equal(["a"], Assert.Single(changes));
        Assert.Single(log, l => l is { Event: 1502, Level: LogLevel.Critical });

        File.WriteAllBytes(FilePath, right);
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(ring.IsReadable);
        Assert.Equal(a, ring.Find("a")!.Key);
        Assert.Null(ring.Find("unknown"));
    }

    [Fact]
    public void EmptyFileThatIsDamaged_IsTold()
    {
        Keys.Add("a", time.GetUtcNow());
        Keys.Forget("a");
        ring.Start();
        changes.Clear();
        File.WriteAllText(FilePath, "damaged");
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Empty(Assert.Single(changes));
    }

    [Fact]
    public void FileThatVanishes_LetsNobodyIn()
    {
        Keys.Add("a", time.GetUtcNow());
        ring.Start();
        File.Delete(FilePath);
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.False(ring.IsReadable);
        Assert.NotNull(ring.Find("unknown")!.Revoked);
        Assert.Contains(log, l => l.Event == 1502 && l.Text.Contains("is gone", StringComparison.Ordinal));
        byte[] again = Keys.Add("a", time.GetUtcNow());
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal(again, ring.Find("a")!.Key);
    }

    [Fact]
    public void NoFileAtTheStart_IsAnEmptyOneLoudly()
    {
        ring.Start();
        Assert.True(ring.IsReadable);
        Assert.Null(ring.Find("a"));
        Assert.Contains(log, l => l.Event == 1504);
    }
}
