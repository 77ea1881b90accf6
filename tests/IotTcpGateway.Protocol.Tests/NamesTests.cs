using System.Text;

using Xunit;

namespace IotTcpGateway.Protocol.Tests;

public class NamesTests
{
    private const string Allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

    [Fact]
    public void IsDeviceId_EveryByteInEveryPlace_OnlyTheAllowedOnes()
    {
        for (int b = 0; b <= byte.MaxValue; b++)
        {
            bool isAllowed = Allowed.Contains((char)b);
            Assert.Equal(isAllowed && b != '.', Names.IsDeviceId([(byte)b]));
            Assert.Equal(isAllowed && b != '.', Names.IsDeviceId([(byte)b, (byte)'x']));
            Assert.Equal(isAllowed, Names.IsDeviceId([(byte)'x', (byte)b]));
            Assert.Equal(isAllowed, Names.IsDeviceId([(byte)'x', (byte)b, (byte)'x']));
        }
    }

    [Fact]
    public void IsChannelName_EveryByteInEveryPlace_OnlyTheAllowedOnes()
    {
        for (int b = 0; b <= byte.MaxValue; b++)
        {
            bool isAllowed = Allowed.Contains((char)b);
            Assert.Equal(isAllowed, Names.IsChannelName([(byte)b]));
            Assert.Equal(isAllowed, Names.IsChannelName([(byte)'x', (byte)b]));
            Assert.Equal(isAllowed || b == '/', Names.IsChannelName([(byte)'x', (byte)b, (byte)'x']));
        }
    }

    [Theory]
    [InlineData("local", false)]
    [InlineData("status", false)]
    [InlineData("Local", true)]
    [InlineData("local.", true)]
    [InlineData("status-1", true)]
    [InlineData("..", false)]
    [InlineData("a..b", true)]
    [InlineData("", false)]
    [InlineData("pümpe", false)]
    [InlineData("#", false)]
    [InlineData("+", false)]
    [InlineData("a/b", false)]
    public void IsDeviceId_OfAnExample_FollowsTheRules(string id, bool isRight) =>
        Assert.Equal(isRight, Names.IsDeviceId(Encoding.UTF8.GetBytes(id)));

    [Theory]
    [InlineData("meta")]
    [InlineData("status")]
    [InlineData("command")]
    [InlineData("result")]
    [InlineData("gaps")]
    public void IsChannelName_WithAReservedWord_IsRefusedInTheFirstLevelOnly(string word)
    {
        Assert.False(Names.IsChannelName(Encoding.UTF8.GetBytes(word)));
        Assert.False(Names.IsChannelName(Encoding.UTF8.GetBytes(word + "/x")));
        Assert.True(Names.IsChannelName(Encoding.UTF8.GetBytes("x/" + word)));
        Assert.True(Names.IsChannelName(Encoding.UTF8.GetBytes(word + "x")));
        Assert.True(Names.IsChannelName(Encoding.UTF8.GetBytes(word.ToUpperInvariant())));
    }

    [Theory]
    [InlineData("/")]
    [InlineData("/a")]
    [InlineData("a/")]
    [InlineData("a//b")]
    [InlineData("a/b/")]
    [InlineData("")]
    public void IsChannelName_WithAnEmptyLevel_IsRefused(string name) =>
        Assert.False(Names.IsChannelName(Encoding.UTF8.GetBytes(name)));

    [Fact]
    public void Names_OfEveryLength_MayHave1To64Bytes()
    {
        for (int length = 0; length <= 300; length++)
        {
            byte[] name = [.. Enumerable.Repeat((byte)'x', length)];
            Assert.Equal(length is >= 1 and <= 64, Names.IsDeviceId(name));
            Assert.Equal(length is >= 1 and <= 64, Names.IsChannelName(name));
        }
    }
}
