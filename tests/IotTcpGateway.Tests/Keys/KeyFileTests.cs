using IotTcpGateway.Keys;

using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Keys;

public sealed class KeyFileTests : IDisposable
{
    private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("iotgw-test-");
    private readonly FakeTimeProvider time = new(new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));

    private string FilePath => Path.Combine(directory.FullName, "below", "devices.json");

    private KeyFile Keys => new(FilePath);

    public void Dispose() => directory.Delete(recursive: true);

    [Fact]
    public void Read_NoFile_IsEmpty() => Assert.Empty(Keys.Read());

    [Fact]
    public void Add_NewDevice_IsThereWithItsKeyAndOnlyTheOwnerMayRead()
    {
        byte[] key = Keys.Add("pump-7", time.GetUtcNow());
        Assert.Equal(32, key.Length);
        DeviceKey device = Assert.Single(Keys.Read());
        Assert.Equal(("pump-7", "2026-01-02T03:04:05Z"), (device.Id, device.Added));
        Assert.Equal(key, device.Key);
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(FilePath));
    }

    [Fact]
    public void Add_DeviceThatExists_IsRefusedAndKeepsItsKey()
    {
        byte[] key = Keys.Add("a", time.GetUtcNow());
        Assert.Contains("exists already", Assert.Throws<KeyFileException>(() => Keys.Add("a", time.GetUtcNow())).Message, StringComparison.Ordinal);
        Assert.Equal(key, Keys.Read()[0].Key);
    }

    [Fact]
    public void RotateAndRevoke_ChangeOnlyTheirDevice()
    {
        byte[] a = Keys.Add("a", time.GetUtcNow());
        byte[] b = Keys.Add("b", time.GetUtcNow());
        byte[] rotated = Keys.Rotate("a", time.GetUtcNow());
        Assert.NotEqual(a, rotated);
        Assert.Equal([rotated, b], Keys.Read().Select(d => d.Key));
        Keys.Revoke("a");
        Assert.Equal("b", Assert.Single(Keys.Read()).Id);
        Assert.Throws<KeyFileException>(() => Keys.Revoke("a"));
        Assert.Throws<KeyFileException>(() => Keys.Rotate("a", time.GetUtcNow()));
    }

    [Theory]
    [InlineData("")]
    [InlineData("{")]
    [InlineData("{}")]
    [InlineData("[]")]
    [InlineData("""{"devices":{}}""")]
    [InlineData("""{"devices":[{"id":"a"}]}""")]
    [InlineData("""{"devices":[{"id":"a","key":"00"}]}""")]
    [InlineData("""{"devices":[{"id":"a","key":"zz"}]}""")]
    [InlineData("""{"devices":[{"id":"a/b","key":"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f"}]}""")]
    [InlineData("""{"devices":[{"id":7,"key":"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f"}]}""")]
    public void Read_Damaged_SaysSo(string content)
    {
        WriteRaw(content);
        Assert.Contains("damaged", Assert.Throws<KeyFileException>(Keys.Read).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Ring_ChangedFile_IsTakenWithinASecondAndTellsWhoseKeyChanged()
    {
        Keys.Add("a", time.GetUtcNow());
        byte[] b = Keys.Add("b", time.GetUtcNow());
        using var ring = new KeyRing(FilePath, time, NullLogger.Instance);
        ring.Start();
        var changes = new List<IReadOnlySet<string>>();
        ring.Changed += changes.Add;

        byte[] rotated = Keys.Rotate("a", time.GetUtcNow());
        Keys.Add("c", time.GetUtcNow());
        time.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal(["a", "c"], Assert.Single(changes).Order());
        Assert.Equal(rotated, ring.Find("a"));
        Assert.Equal(b, ring.Find("b"));
        Assert.Null(ring.Find("nobody"));
    }

    [Fact]
    public void Ring_DamagedFile_LetsNobodyInAndRecovers()
    {
        byte[] a = Keys.Add("a", time.GetUtcNow());
        using var ring = new KeyRing(FilePath, time, NullLogger.Instance);
        ring.Start();
        var changes = new List<IReadOnlySet<string>>();
        ring.Changed += changes.Add;
        byte[] right = File.ReadAllBytes(FilePath);

        WriteRaw("damaged");
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.False(ring.IsReadable);
        // Everybody has a key that nobody knows: who proves one fails, and who comes without proof is refused.
        Assert.NotNull(ring.Find("unknown"));
        Assert.NotEqual(a, ring.Find("a"));
        Assert.Equal(["a"], Assert.Single(changes));

        File.WriteAllBytes(FilePath, right);
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.True(ring.IsReadable);
        Assert.Equal(a, ring.Find("a"));
        Assert.Null(ring.Find("unknown"));
    }

    [Fact]
    public void AddAll_OneExists_AddsNone()
    {
        Keys.Add("b", time.GetUtcNow());
        Assert.Throws<KeyFileException>(() => Keys.AddAll(["a", "b"], time.GetUtcNow()));
        Assert.Single(Keys.Read());
        Assert.Equal(["c", "d"], Keys.AddAll(["c", "d"], time.GetUtcNow()).Select(d => d.Id));
        Assert.Equal(3, Keys.Read().Count);
    }

    [Fact]
    public void Add_Concurrently_LosesNobody()
    {
        // Who finds the file busy is told so; he does not undo what another has just done.
        int added = 0;
        Parallel.For(0, 40, i =>
        {
            try
            {
                Keys.Add($"d{i}", time.GetUtcNow());
                Interlocked.Increment(ref added);
            }
            catch (KeyFileException e) when (e.Message.Contains("cannot be changed", StringComparison.Ordinal))
            {
                // Busy.
            }
        });
        Assert.True(added > 0);
        Assert.Equal(added, Keys.Read().Count);
    }

    private void WriteRaw(string content)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(FilePath)!);
        File.WriteAllText(FilePath, content);
    }
}
