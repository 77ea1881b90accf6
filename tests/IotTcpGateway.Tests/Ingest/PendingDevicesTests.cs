using System.Net;

using IotTcpGateway.Ingest;
using IotTcpGateway.Keys;
using IotTcpGateway.Protocol;

using Microsoft.Extensions.Time.Testing;

using Xunit;

namespace IotTcpGateway.Tests.Ingest;

public class PendingDevicesTests
{
    private readonly PendingDevices pending = new(new FakeTimeProvider());

    [Fact]
    public void Asked_AgainAndAgain_IsOneDevice()
    {
        Assert.True(Ask("d", 1));
        Assert.False(Ask("d", 2));
        PendingDevice one = Assert.Single(pending.All);
        Assert.Equal(("d", 2, AddressOf(2)), (one.DeviceId, one.Times, one.Address));
        pending.Remove("d");
        Assert.Empty(pending.All);
    }

    [Fact]
    public void Asked_ByNameOfOneThatShowedACertificate_DoesNotDisplaceIt()
    {
        pending.Asked("d", AuthenticationMode.Certificate, AddressOf(1), "");
        pending.Asked("d", AuthenticationMode.None, AddressOf(2), "");
        Assert.Equal((AuthenticationMode.Certificate, AddressOf(1)), (pending.All[0].Mode, pending.All[0].Address));
    }

    [Fact]
    public void Asked_ByAFloodFromOneAddress_TakesAQuarterAndLeavesTheOthers()
    {
        Ask("honest", 1);
        for (int i = 0; i < 1000; i++)
            Ask($"flood-{i}", 2);
        Assert.Equal(1 + PendingDevices.EntriesMaxOfAddress, pending.All.Count);
        Assert.Contains(pending.All, d => d.DeviceId == "honest");
    }

    [Fact]
    public void Asked_FromEverywhere_IsBoundedAndTheLongestUnheardOfGoes()
    {
        for (int i = 0; i < 1000; i++)
            Ask($"d{i}", i);
        Assert.Equal(PendingDevices.EntriesMax, pending.All.Count);
        Assert.Equal("d999", pending.All[^1].DeviceId);
    }

    [Theory]
    [InlineData(null, AuthenticationMode.None, false, EntranceResult.Granted)]
    [InlineData(null, AuthenticationMode.None, true, EntranceResult.Waits)]
    [InlineData(null, AuthenticationMode.Certificate, false, EntranceResult.Granted)]
    [InlineData(null, AuthenticationMode.Certificate, true, EntranceResult.Waits)]
    [InlineData(DeviceMode.None, AuthenticationMode.None, true, EntranceResult.Granted)]
    [InlineData(DeviceMode.Hmac, AuthenticationMode.None, false, EntranceResult.Refused)]
    [InlineData(DeviceMode.Certificate, AuthenticationMode.None, false, EntranceResult.Refused)]
    [InlineData(DeviceMode.Certificate, AuthenticationMode.Certificate, true, EntranceResult.Granted)]
    internal void Judge_IsATable(DeviceMode? known, AuthenticationMode mode, bool enrols, EntranceResult expected)
    {
        DeviceEntry? entry = known is { } k ? new DeviceEntry { Id = "d", Mode = k, Added = default } : null;
        Assert.Equal(expected, Entrance.Judge(entry, mode, enrols));
        if (entry is not null)
            Assert.Equal(EntranceResult.Refused, Entrance.Judge(entry with { Revoked = default(DateTimeOffset) }, mode, enrols));
    }

    private bool Ask(string id, int address) => pending.Asked(id, AuthenticationMode.None, AddressOf(address), "");

    private static IPAddress AddressOf(int number) => new([10, 0, (byte)(number >> 8), (byte)number]);
}
