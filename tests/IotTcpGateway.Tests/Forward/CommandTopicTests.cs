using IotTcpGateway.Forward;

using Xunit;

namespace IotTcpGateway.Tests.Forward;

/// <summary>What who may send commands can make the gateway publish, and where.</summary>
public class CommandTopicTests
{
    private const string Usual = "telemetry/{gateway}/{device}";

    [Theory]
    [InlineData("telemetry/gw/pump-7/command/valve/2", true)]
    [InlineData("telemetry/gw/local/command/relay", true)]
    [InlineData("telemetry/gw/status/command/x", false)]
    [InlineData("telemetry/gw/.hidden/command/x", false)]
    [InlineData("telemetry/gw/\u001b[2J/command/x", false)]
    [InlineData("telemetry/gw/a b/command/x", false)]
    [InlineData("telemetry/gw/pump-7/command/a\nb", false)]
    [InlineData("telemetry/gw/pump-7/command/\uFFFD", false)]
    [InlineData("telemetry/other/pump-7/command/x", false)]
    public void TryReadCommand_OnlyOfWhatCanBeADevice(string topic, bool isCommand) =>
        Assert.Equal(isCommand, Of(Usual).TryReadCommand(topic, out _, out _));

    [Theory]
    [InlineData(Usual, "reply/1", true)]
    [InlineData(Usual, "telemetry/other/x", true)]
    [InlineData(Usual, "telemetry/gw/pump-7", false)]
    [InlineData(Usual, "telemetry/gw/pump-7/status", false)]
    [InlineData(Usual, "telemetry/gw/pump-7/result/x", false)]
    [InlineData(Usual, "telemetry/gw/status", false)]
    [InlineData(Usual, "$SYS/broker/x", false)]
    [InlineData(Usual, "reply/#", false)]
    [InlineData(Usual, "reply/\uFFFD\uFFFD", false)]
    [InlineData(Usual, "reply/\u0007", false)]
    [InlineData(Usual, "", false)]
    [InlineData(Usual, null, false)]
    [InlineData("{device}/data", "reply/1", true)]
    [InlineData("{device}/data", "pump-7/data", false)]
    [InlineData("{device}/data", "pump-7/data/status", false)]
    [InlineData("{device}/data", "pump-7/database", true)]
    [InlineData("{device}", "pump-7/status", false)]
    [InlineData("{device}", "anything", false)]
    public void IsForAnswers_NotWhereTheGatewaySpeaks(string template, string? topic, bool isFor) =>
        Assert.Equal(isFor, Of(template).IsForAnswers(topic));

    private static Topics Of(string template) => new(template, "", "gw");
}
