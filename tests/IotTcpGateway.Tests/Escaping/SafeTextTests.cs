using IotTcpGateway.Cli;
using IotTcpGateway.Escaping;

using Xunit;

namespace IotTcpGateway.Tests.Escaping;

public class SafeTextTests
{
    [Theory]
    [InlineData(null, "")]
    [InlineData("pump 7, °C: 21.5 % – größer 温度 🌡", "pump 7, °C: 21.5 % – größer 温度 🌡")]
    [InlineData("a\r\nb\tc\0", "a\\u000D\\u000Ab\\u0009c\\u0000")]
    [InlineData("\u001b[31m\u009b2J\u007f", "\\u001B[31m\\u009B2J\\u007F")]
    [InlineData("\u202eevil\u2066\u200f\u061c", "\\u202Eevil\\u2066\\u200F\\u061C")]
    [InlineData("\u200b\ufeff\u2028\u2029\ue000", "\\u200B\\uFEFF\\u2028\\u2029\\uE000")]
    [InlineData("\U000e0041", "\\uE0041")]
    public void Clean_OfText(string? text, string expected) => Assert.Equal(expected, SafeText.Clean(text));

    [Fact]
    public void Clean_HalfASurrogatePair_IsReplaced() =>
        Assert.Equal("\ufffdx\ufffd", SafeText.Clean(new string(['\ud800', 'x', '\udc00'])));

    [Theory]
    [InlineData('x')]
    [InlineData('\u001b')]
    public void Clean_TooLong_IsCut(char c) =>
        Assert.InRange(SafeText.Clean(new string(c, 100_000)).Length, SafeText.CharactersMax, SafeText.CharactersMax + 8);

    [Fact]
    public void Clean_NothingToDo_IsTheSameText()
    {
        const string text = "pump-7";
        Assert.Same(text, SafeText.Clean(text));
    }

    [Fact]
    public void Clean_EveryCharacter_LeavesNothingThatActs()
    {
        for (int i = 0; i <= char.MaxValue; i++)
        {
            string clean = SafeText.Clean(((char)i).ToString()) + FrameExplainer.Escape(((char)i).ToString());
            Assert.DoesNotContain(clean, c => char.IsControl(c) || char.GetUnicodeCategory(c)
                is System.Globalization.UnicodeCategory.Format or System.Globalization.UnicodeCategory.Surrogate);
        }
    }
}
