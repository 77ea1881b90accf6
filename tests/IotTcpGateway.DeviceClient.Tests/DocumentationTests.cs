using System.Text.RegularExpressions;

using IotTcpGateway.Protocol;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.DeviceClient.Tests;

public partial class DocumentationTests
{
    [Fact]
    public async Task Example_AgainstAGateway_SendsEverythingAndEnds()
    {
        byte[] key = [.. Enumerable.Range(0, 32).Select(i => (byte)i)];
        await using var gateway = new ScriptedGateway { Key = key };
        Task device = RunExampleAsync("127.0.0.1", gateway.Port, key, [21.5f, 22.5f]);
        ScriptedConnection connection = await gateway.WelcomeAsync();
        await connection.ReceiveAsync(FrameType.Describe);
        Assert.Equal(21.5f, Reading(await connection.ReceiveAsync(FrameType.Data)));
        Assert.Equal(22.5f, Reading(await connection.ReceiveAsync(FrameType.Data)));
        await connection.AckAsync(2, 10);
        await connection.ReceiveAsync(FrameType.Bye);
        await connection.DisposeAsync();
        await Guard.Limit(device);
    }

    [Fact]
    public void Example_InTheDocumentation_IsTheOneThatIsTested()
    {
        string documented = ReadBlock(Path.Combine(Root(), "docs", "device-client.md"), CodeBlock());
        string tested = ReadBlock(
            Path.Combine(Root(), "tests", "IotTcpGateway.DeviceClient.Tests", "DocumentationTests.cs"),
            ExampleRegion());
        Assert.Equal(tested, documented);
    }

    private static async Task RunExampleAsync(string host, int port, byte[] key, float[] readings)
    {
        #region example
        await using var client = new DeviceClient(new DeviceClientOptions
        {
            Host = host,
            Port = port,
            DeviceId = "press-7",
            Key = key, // 32 bytes, printed by `iotgw device add press-7`; leave it out where there is no authentication
            Channels = [new DescribedChannel(1, DataType.F32, "oil/temperature", "°C")],
            WhenFull = WhenFull.DropOldest,
            OnCommand = (command, ended) => ValueTask.FromResult(
                command.Name == "identify" ? DeviceCommandReply.Done : DeviceCommandReply.WithText(1, "unknown")),
        });
        client.Start();

        byte[] room = new byte[64];
        for (int i = 0; i < readings.Length; i++)
        {
            long now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() * 1000;
            var data = new DataWriter(room, baseTime: now);
            data.Add(channel: 1, offsetMilliseconds: 0, readings[i]);
            int bytes = data.Written;
            await client.SendAsync(room.AsMemory(0, bytes));
        }

        await client.FlushAsync();
        Console.WriteLine($"{client.Status.Acknowledged} frames are safe");
        #endregion
    }

    private static float Reading(ScriptedFrame frame)
    {
        var data = new DataReader(frame.Body);
        Assert.True(data.TryRead(out DataRecord record));
        return record.AsSingle();
    }

    private static string ReadBlock(string file, Regex block)
    {
        Match match = block.Match(File.ReadAllText(file));
        Assert.True(match.Success, $"no block in {file}");
        return Spaces().Replace(match.Groups[1].Value, " ").Trim();
    }

    private static string Root()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "IotTcpGateway.sln")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException("the tests run outside the repository");
    }

    [GeneratedRegex("```csharp(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CodeBlock();

    [GeneratedRegex("#region example\\s(.*?)#endregion", RegexOptions.Singleline)]
    private static partial Regex ExampleRegion();

    [GeneratedRegex("\\s+")]
    private static partial Regex Spaces();
}
