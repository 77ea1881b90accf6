using Xunit;

namespace IotTcpGateway.Journal.Tests;

public class JournalFilesTests
{
    private const string Segment = "000000000000002a-00112233445566aa.seg";

    [Theory]
    [InlineData(Segment)]
    [InlineData(Segment + ".tmp")]
    [InlineData(Segment + ".broken")]
    [InlineData(Segment + ".alien")]
    [InlineData(Segment + ".00001000.broken")]
    [InlineData("cursor")]
    [InlineData("reserve.tmp")]
    public void IsOurs_WhatAJournalMakes(string name) => Assert.True(JournalFiles.IsOurs(name));

    [Theory]
    [InlineData("")]
    [InlineData("notes.txt")]
    [InlineData("notes.txt.alien")]
    [InlineData("cursor.broken")]
    [InlineData("2a-00112233445566aa.seg")]
    [InlineData("000000000000002A-00112233445566aa.seg")]
    [InlineData(Segment + ".bak")]
    [InlineData(Segment + ".1000.broken")]
    [InlineData("x" + Segment)]
    [InlineData(".tmp")]
    public void IsOurs_WhatSomebodyElseMade_IsNot(string name) => Assert.False(JournalFiles.IsOurs(name));
}
