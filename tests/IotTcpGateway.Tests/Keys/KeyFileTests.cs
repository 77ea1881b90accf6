using IotTcpGateway.Keys;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Keys;

public sealed class KeyFileTests : IDisposable
{
    private const string Hex = "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f";

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
        DeviceEntry device = Assert.Single(Keys.Read());
        Assert.Equal(("pump-7", DeviceMode.Hmac, time.GetUtcNow()), (device.Id, device.Mode, device.Added));
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
    public void Add_WithoutKeyAndWithPermissions_ReadsBackTheSame()
    {
        var permissions = new DevicePermissions { Channels = ["pump/#", "+/t"], Commands = [], FramesPerSecond = 7, Priority = 3 };
        Assert.Null(Keys.Add("c", DeviceMode.Certificate, permissions, time.GetUtcNow()));
        Assert.Null(Keys.Add("n", DeviceMode.None, DevicePermissions.Unlimited, time.GetUtcNow()));
        IReadOnlyList<DeviceEntry> read = Keys.Read();
        Assert.Equal([DeviceMode.Certificate, DeviceMode.None], read.Select(d => d.Mode));
        Assert.True(permissions.IsSameAs(read[0].Permissions));
        Assert.Same(DevicePermissions.Unlimited, read[1].Permissions);
    }

    [Fact]
    public void Revoke_KeepsTheIdWithoutAKeyUntilItIsAddedAgain()
    {
        byte[] old = Keys.Add("a", time.GetUtcNow());
        byte[] b = Keys.Add("b", time.GetUtcNow());
        Keys.Rotate("a", TimeSpan.FromHours(1), time.GetUtcNow());
        Keys.Revoke("a", time.GetUtcNow());
        DeviceEntry revoked = Keys.Read()[0];
        Assert.Equal((null, null, time.GetUtcNow()), (revoked.Key, revoked.Former, revoked.Revoked));
        Assert.Equal(b, Keys.Read()[1].Key);
        Assert.DoesNotContain(Convert.ToHexStringLower(old), File.ReadAllText(FilePath), StringComparison.Ordinal);
        Assert.Contains("revoked", Assert.Throws<KeyFileException>(() => Keys.Rotate("a", default, time.GetUtcNow())).Message, StringComparison.Ordinal);
        byte[] again = Keys.Add("a", time.GetUtcNow());
        Assert.Equal(again, Keys.Read()[0].Key);
        Assert.Null(Keys.Read()[0].Revoked);
        Keys.Forget("a");
        Assert.Equal("b", Assert.Single(Keys.Read()).Id);
        Assert.Throws<KeyFileException>(() => Keys.Revoke("a", time.GetUtcNow()));
        Assert.Throws<KeyFileException>(() => Keys.Forget("a"));
    }

    [Fact]
    public void Rotate_WithOverlap_HasBothKeysAndWithoutOneOnly()
    {
        byte[] first = Keys.Add("a", time.GetUtcNow());
        byte[] second = Keys.Rotate("a", TimeSpan.FromHours(1), time.GetUtcNow());
        DeviceEntry both = Assert.Single(Keys.Read());
        Assert.Equal(second, both.Key);
        Assert.Equal(first, both.Former!.Key);
        Assert.Equal(time.GetUtcNow().AddHours(1), both.Former.Until);
        Assert.NotNull(both.At(time.GetUtcNow().AddMinutes(59)).Former);
        Assert.Null(both.At(time.GetUtcNow().AddHours(1)).Former);
        Assert.True(both.Covers(DeviceEntry.PrintOf(first), DeviceMode.Hmac));
        Keys.EndOverlap("a");
        DeviceEntry one = Assert.Single(Keys.Read());
        Assert.Equal(second, one.Key);
        Assert.Null(one.Former);
        Assert.False(one.Covers(DeviceEntry.PrintOf(first), DeviceMode.Hmac));
        byte[] third = Keys.Rotate("a", TimeSpan.Zero, time.GetUtcNow());
        Assert.Equal(third, Keys.Read()[0].Key);
        Assert.Null(Keys.Read()[0].Former);
        Keys.Add("n", DeviceMode.None, DevicePermissions.Unlimited, time.GetUtcNow());
        Assert.Throws<KeyFileException>(() => Keys.Rotate("n", default, time.GetUtcNow()));
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
    [InlineData($$"""{"devices":[{"id":"a/b","key":"{{Hex}}"}]}""")]
    [InlineData($$"""{"devices":[{"id":7,"key":"{{Hex}}"}]}""")]
    [InlineData($$"""{"devices":[{"id":"a","key":"{{Hex}}"},{"id":"a","key":"{{Hex}}"}]}""")]
    [InlineData($$"""{"devices":[{"id":"a","key":"{{Hex}}","chanels":["t"]}]}""")]
    [InlineData($$"""{"devices":[{"id":"a","key":"{{Hex}}","channels":["t//u"]}]}""")]
    [InlineData($$"""{"devices":[{"id":"a","key":"{{Hex}}","channels":["#/t"]}]}""")]
    [InlineData($$"""{"devices":[{"id":"a","key":"{{Hex}}","priority":4}]}""")]
    [InlineData($$"""{"devices":[{"id":"a","key":"{{Hex}}","authentication":"none"}]}""")]
    [InlineData($$"""{"devices":[{"id":"a","key":"{{Hex}}","revoked":"2026-01-02T03:04:05Z"}]}""")]
    [InlineData("""{"devices":[{"id":"a","authentication":"maybe"}]}""")]
    [InlineData("""{"format":3,"devices":[]}""")]
    public void Read_Damaged_SaysSoAndQuotesNoKey(string content)
    {
        WriteRaw(content);
        string message = Assert.Throws<KeyFileException>(Keys.Read).Message;
        Assert.Contains("damaged", message, StringComparison.Ordinal);
        Assert.DoesNotContain(Hex, message, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_FirstFormat_IsRead()
    {
        WriteRaw($$"""{"devices":[{"id":"a","key":"{{Hex}}","added":""},{"id":"b","key":"{{Hex}}","added":"2026-01-02T03:04:05Z"}]}""");
        Assert.Equal([DateTimeOffset.MinValue, time.GetUtcNow()], Keys.Read().Select(d => d.Added));
        Keys.Add("c", time.GetUtcNow());
        Assert.Equal(["a", "b", "c"], Keys.Read().Select(d => d.Id));
    }

    [Theory]
    [InlineData(UnixFileMode.GroupWrite)]
    [InlineData(UnixFileMode.OtherWrite)]
    public void Read_FileThatOthersMayWrite_IsNotBelieved(UnixFileMode others)
    {
        Keys.Add("a", time.GetUtcNow());
        File.SetUnixFileMode(FilePath, UnixFileMode.UserRead | UnixFileMode.UserWrite | others);
        Assert.Contains("written by others", Assert.Throws<KeyFileException>(Keys.Read).Message, StringComparison.Ordinal);
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
