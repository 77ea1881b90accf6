using System.CommandLine;
using System.Text.Json;

using IotTcpGateway.Cli;
using IotTcpGateway.Configuration;
using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Tests.Cli;

public sealed class KeyHandoutTests : IDisposable
{
    private static readonly byte[] Key = [.. Enumerable.Range(0, 32).Select(i => (byte)((i * 37) + 1))];
    private static readonly string Hex = Convert.ToHexStringLower(Key);
    private static readonly GatewayPlace Place = new("192.168.1.5", 7183);

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("iotgw-key-");

    public void Dispose() => folder.Delete(recursive: true);

    [Fact]
    public void Write_Hex_IsTheKeyAlone()
    {
        Assert.Equal(Hex + "\n", Write(KeyFormat.Hex));
        Assert.Equal(KeyFormat.Hex, KeyHandout.DefaultFormat(isTerminal: false));
    }

    [Fact]
    public void Write_Text_TheKeyIsAloneOnTheFirstLine()
    {
        string[] lines = Write(KeyHandout.DefaultFormat(isTerminal: true)).Split('\n');
        Assert.Equal(Hex, lines[0]);
        Assert.Equal("", lines[1]);
        Assert.Equal($"itgp://pump-7:{Hex}@192.168.1.5:7183", lines[2]);
        Assert.Contains(lines, l => l.Contains('▀'));
    }

    [Theory]
    [InlineData("gateway.local", 7183, false, "itgp://pump-7:KEY@gateway.local:7183")]
    [InlineData("fd00::5", 7184, true, "itgps://pump-7:KEY@[fd00::5]:7184")]
    public void UriOf_IsReadByAnyReaderOfUris(string host, int port, bool isTls, string expected)
    {
        string text = KeyHandout.UriOf("pump-7", Key, new GatewayPlace(host, port, isTls));
        Assert.Equal(expected.Replace("KEY", Hex), text);
        var uri = new Uri(text);
        Assert.Equal((host, port, "pump-7:" + Hex), (uri.DnsSafeHost, uri.Port, uri.UserInfo));
    }

    [Fact]
    public void UriOf_LongestIdAndHost_FitsAQrCode() =>
        Assert.NotNull(QrCode.Of(KeyHandout.UriOf(new string('x', 64), Key, new GatewayPlace(new string('h', 253), 65535, true))));

    [Fact]
    public void Write_Json_HasAll()
    {
        using JsonDocument json = JsonDocument.Parse(Write(KeyFormat.Json));
        Assert.Equal(Hex, json.RootElement.GetProperty("key").GetString());
        Assert.Equal("pump-7", json.RootElement.GetProperty("id").GetString());
        Assert.Equal(7183, json.RootElement.GetProperty("port").GetInt32());
        Assert.False(json.RootElement.GetProperty("tls").GetBoolean());
    }

    [Fact]
    public async Task Write_C_CompilesWithoutAWarningAndHoldsTheKey()
    {
        File.WriteAllText(At("key.h"), Write(KeyFormat.C));
        File.WriteAllText(At("main.c"), """
            #include <stdio.h>
            #include "key.h"
            #include "key.h"
            int main(void)
            {
                for (int i = 0; i < ITGP_KEY_BYTES; i++)
                    printf("%02x", ITGP_KEY[i]);
                printf(" %s %s:%d %d\n", ITGP_DEVICE_ID, ITGP_HOST, ITGP_PORT, ITGP_TLS);
            }
            """);
        if (!ExistsOnPath("gcc"))
            Assert.Skip("there is no gcc here");
        await RunAsync("gcc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-o", At("main"), At("main.c"));
        Assert.Equal($"{Hex} pump-7 192.168.1.5:7183 0", (await RunAsync(At("main"))).Trim());
    }

    [Fact]
    public async Task Write_Python_HoldsTheKey()
    {
        File.WriteAllText(At("handout.py"), Write(KeyFormat.Python));
        string output = await RunAsync(
            "python3", "-B", "-c", $"import sys; sys.path.insert(0, '{folder.FullName}'); import handout as h; print(h.DEVICE_ID, h.HOST, h.PORT, h.TLS, h.KEY.hex(), hex(h.crc32c(b'123456789')))");
        Assert.Equal($"pump-7 192.168.1.5 7183 False {Hex} 0xe3069283", output.Trim());
    }

    [Theory]
    [InlineData("c", "C")]
    [InlineData("JSON", "Json")]
    [InlineData("1", null)]
    [InlineData("cobol", null)]
    public void FormatOption_TakesWordsAlone(string word, string? expected)
    {
        Option<KeyFormat?> option = KeyHandout.FormatOption();
        ParseResult parsed = new RootCommand { option }.Parse(["--format", word]);
        Assert.Equal(expected is null, parsed.Errors.Count > 0);
        if (expected is not null)
            Assert.Equal(expected, parsed.GetValue(option).ToString());
    }

    [Fact]
    public void PlaceOf_AnyAddress_IsNoneThatADeviceCannotUse()
    {
        var configuration = new GatewayConfiguration();
        GatewayPlace place = KeyHandout.PlaceOf(configuration);
        Assert.NotEqual("0.0.0.0", place.Host);
        Assert.Equal(7183, place.Port);
        configuration.Listeners[0].Endpoint = "10.1.2.3:99";
        Assert.Equal(new GatewayPlace("10.1.2.3", 99), KeyHandout.PlaceOf(configuration));
    }

    private string At(string name) => Path.Combine(folder.FullName, name);

    private static string Write(KeyFormat format) => KeyHandout.Write(format, "pump-7", Key, Place, isTerminal: true);

    private static bool ExistsOnPath(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "")
        .Split(':').Any(p => File.Exists(Path.Combine(p, program)));

    private static async Task<string> RunAsync(string program, params string[] arguments)
    {
        await using ChildProcess process = ChildProcess.Start(program, arguments);
        int code = await process.ExitAsync();
        Assert.True(code == 0, process.Output);
        return process.Output;
    }
}
