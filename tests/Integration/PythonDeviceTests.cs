using System.Globalization;

using IotTcpGateway.Cli;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>A device written in another language, from the protocol's documentation alone.</summary>
public sealed class PythonDeviceTests
{
    private const int Frames = 300;

    [Fact]
    public async Task CheckVectors_PublishedExamples_Agree()
    {
        string vectors = Path.Combine(AppContext.BaseDirectory, "vectors.json");
        await using ChildProcess python = Start("--check-vectors", vectors);
        Assert.True(await python.ExitAsync() == 0, python.Output);
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public async Task Session_OfAnotherLanguage_EveryFrameIsAcknowledgedAndArrives(bool hasKey, bool isTagged)
    {
        const int Boot = 77;
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(hasKey ? ["py"] : [], broker.Port);
        List<string> arguments =
        [
            "--to", gateway.Endpoint.ToString(), "--id", "py", "--frames", Text(Frames), "--boot", Text(Boot),
            "--timeout", "40",
        ];
        if (hasKey)
            arguments.AddRange(["--key", Convert.ToHexStringLower(gateway.Keys["py"])]);
        if (isTagged)
            arguments.Add("--tagged");
        await using ChildProcess python = Start([.. arguments]);

        Assert.True(await python.ExitAsync() == 0, $"{python.Output}\n{gateway.Log.Tail}");
        await Patience.UntilAsync(
            () => subscriber.Deliveries.Count == Frames, () => $"{subscriber.Deliveries.Count} arrived");
        Assert.Empty(subscriber.Deliveries.Faults);
        for (uint sequence = 1; sequence <= Frames; sequence++)
        {
            string json = subscriber.Deliveries.Find(new MessageKey("py", Boot, sequence, 0))!.Json;
            float temperature = 20 + (sequence % 100 / 10f);
            Assert.EndsWith(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"\"values\":{{\"temperature\":{temperature:R},\"count\":{sequence}}}}}"),
                json,
                StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Handout_AsPrinted_SendsAReadingThatArrives()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(["py"], broker.Port);
        var place = new GatewayPlace("127.0.0.1", gateway.Endpoint.Port);
        using var file = new TemporaryFile(KeyHandout.Write(KeyFormat.Python, "py", gateway.Keys["py"], place, isTerminal: false));
        await using ChildProcess python = ChildProcess.Start("python3", [file.Path]);

        Assert.True(await python.ExitAsync() == 0, $"{python.Output}\n{gateway.Log.Tail}");
        Assert.Equal("acknowledged: 1", python.Output.Trim());
        await Patience.UntilAsync(() => subscriber.Deliveries.Count == 1, () => $"{subscriber.Deliveries.Count} arrived");
    }

    [Fact]
    public async Task Session_WrongKey_IsRefused()
    {
        await using RunningGateway gateway = RunningGateway.Start(["py"], Loopback.FreePort());
        await using ChildProcess python = Start(
            "--to", gateway.Endpoint.ToString(), "--id", "py", "--key", new string('0', 64), "--timeout", "40");
        Assert.Equal(1, await python.ExitAsync());
        await Patience.UntilAsync(
            () => python.Output.Contains("refused, reason 3", StringComparison.Ordinal), () => python.Output);
        Assert.Equal(1, gateway.Status().Devices.AuthenticationFailures);
    }

    private static ChildProcess Start(params string[] arguments) =>
        ChildProcess.Start("python3", [Path.Combine(AppContext.BaseDirectory, "device.py"), .. arguments]);

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
