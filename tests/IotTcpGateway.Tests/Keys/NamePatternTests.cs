using IotTcpGateway.Keys;

using Xunit;

namespace IotTcpGateway.Tests.Keys;

public class NamePatternTests
{
    [Theory]
    [InlineData("t", "t", true)]
    [InlineData("t", "t2", false)]
    [InlineData("t", "t/u", false)]
    [InlineData("t/u", "t", false)]
    [InlineData("+", "t", true)]
    [InlineData("+", "t/u", false)]
    [InlineData("+/u", "t/u", true)]
    [InlineData("+/u", "t/v", false)]
    [InlineData("+/+", "t", false)]
    [InlineData("#", "t", true)]
    [InlineData("#", "t/u/v", true)]
    [InlineData("t/#", "t", true)]
    [InlineData("t/#", "t/u", true)]
    [InlineData("t/#", "tu", false)]
    [InlineData("t/+/#", "t/u", true)]
    [InlineData("t/+/#", "t", false)]
    [InlineData("T", "t", false)]
    public void Matches_IsAsMqttHasIt(string pattern, string name, bool isMatch) =>
        Assert.Equal(isMatch, NamePattern.Matches(pattern, name));

    [Theory]
    [InlineData("", false)]
    [InlineData("t", true)]
    [InlineData("a/b-c/d.e_f", true)]
    [InlineData("+", true)]
    [InlineData("+/t/#", true)]
    [InlineData("#/t", false)]
    [InlineData("t#", false)]
    [InlineData("+t", false)]
    [InlineData("/t", false)]
    [InlineData("t/", false)]
    [InlineData("t u", false)]
    [InlineData("tü", false)]
    [InlineData("$SYS", false)]
    public void IsValid_OnlyLevelsOfNamesAndWholeWildcards(string text, bool isValid) =>
        Assert.Equal(isValid, NamePattern.IsValid(text));

    [Fact]
    public void IsValid_LongerThanAName_IsNot()
    {
        Assert.True(NamePattern.IsValid(new string('a', 64)));
        Assert.False(NamePattern.IsValid(new string('a', 65)));
    }
}
