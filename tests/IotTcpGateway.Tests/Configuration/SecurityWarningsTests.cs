using System.Collections;

using IotTcpGateway.Configuration;

using Xunit;

namespace IotTcpGateway.Tests.Configuration;

public sealed class SecurityWarningsTests : IDisposable
{
    private const UnixFileMode Owner = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("iotgw-warn-");

    public void Dispose() => folder.Delete(recursive: true);

    [Theory]
    [InlineData("{}")]
    [InlineData("""{"mqtt":{"brokers":["mqtts://broker.example","mqtt://127.0.0.1","mqtt://localhost","mqtt://[::1]"]}}""")]
    [InlineData("""{"mqtt":{"brokers":["mqtt://192.168.1.9","mqtt://10.0.0.1","mqtt://172.31.0.1","mqtt://[fd00::1]"]}}""")]
    [InlineData("""{"listeners":[{"name":"a","endpoint":"127.0.0.1:1","authentication":["none"]},{"name":"b","endpoint":"[::1]:1","authentication":["none"]}]}""")]
    [InlineData("""{"http":{}}""")]
    [InlineData("""{"http":{"endpoint":"[::1]:9183"}}""")]
    [InlineData("""{"listeners":[{"maxUnauthenticated":1024,"offencesPerMinute":6000,"badFramesPerMinute":600}]}""")]
    public void Of_NothingWeak_SaysNothing(string json) => Assert.Empty(Of(json));

    [Theory]
    [InlineData("""{"listeners":[{"authentication":["none"]}]}""", "listeners.0.authentication", "from anywhere")]
    [InlineData("""{"listeners":[{"authentication":["hmac","none"],"allowFrom":["10.0.0.0/8","0.0.0.0/0"]}]}""", "listeners.0.authentication", "from anywhere")]
    [InlineData("""{"listeners":[{"authentication":["none"],"allowFrom":["128.0.0.0/1","0.0.0.0/1"]}]}""", "listeners.0.authentication", "from anywhere")]
    [InlineData("""{"listeners":[{"authentication":["none"],"allowFrom":["::/0"]}]}""", "listeners.0.authentication", "from anywhere")]
    [InlineData("""{"listeners":[{"authentication":["none"],"allowFrom":["10.1.0.0/16"]}]}""", "listeners.0.authentication", "anybody in 10.1.0.0/16")]
    [InlineData("""{"listeners":[{"maxUnauthenticated":1025}]}""", "listeners.0.maxUnauthenticated", "1024 or less")]
    [InlineData("""{"listeners":[{"offencesPerMinute":6001}]}""", "listeners.0.offencesPerMinute", "6000 or less")]
    [InlineData("""{"listeners":[{"badFramesPerMinute":601}]}""", "listeners.0.badFramesPerMinute", "600 or less")]
    [InlineData("""{"mqtt":{"brokers":["mqtt://broker.example"]}}""", "mqtt.brokers.0", "the readings cross the network readable")]
    [InlineData("""{"mqtt":{"brokers":["mqtts://b","mqtt://203.0.113.7"]}}""", "mqtt.brokers.1", "use mqtts://")]
    [InlineData("""{"mqtt":{"brokers":["mqtt://[2001:db8::1]"]}}""", "mqtt.brokers.0", "use mqtts://")]
    [InlineData("""{"mqtt":{"brokers":["mqtt://172.32.0.1"]}}""", "mqtt.brokers.0", "use mqtts://")]
    [InlineData("""{"mqtt":{"brokers":["mqtt://broker.example"],"username":"u","passwordFile":"SECRET"}}""", "mqtt.brokers.0", "readings and the password")]
    [InlineData("""{"mqtt":{"brokers":["mqtt://192.168.1.9"],"username":"u","passwordFile":"SECRET"}}""", "mqtt.brokers.0", "the password crosses")]
    [InlineData("""{"http":{"endpoint":"0.0.0.0:9183","tokenFile":"SECRET"}}""", "http.tls", "the token crosses")]
    [InlineData("""{"http":{"endpoint":"[::]:9183","username":"u","passwordFile":"SECRET"}}""", "http.tls", "the password crosses")]
    [InlineData("""{"http":{"tokenFile":"MISSING"}}""", "http.tokenFile", "is missing: nobody gets in")]
    [InlineData("""{"http":{"username":"u","passwordFile":"EMPTY"}}""", "http.passwordFile", "is empty: nobody gets in")]
    [InlineData("""{"buffer":{"ack":"memory"}}""", "buffer.ack", "\"safe\"")]
    public void Of_SomethingWeak_NamesItAndWhatToDo(string json, string path, string what)
    {
        string warning = Assert.Single(Of(json));
        Assert.StartsWith(path + ": ", warning, StringComparison.Ordinal);
        Assert.Contains(what, warning, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"devices":{"file":"SECRET"}}""", "devices.file")]
    [InlineData("""{"mqtt":{"username":"u","passwordFile":"SECRET"}}""", "mqtt.passwordFile")]
    [InlineData("""{"mqtt":{"tls":{"certificate":"CERTIFICATE","key":"SECRET"}}}""", "mqtt.tls.key")]
    [InlineData("""{"http":{"tokenFile":"SECRET"}}""", "http.tokenFile")]
    [InlineData("""{"http":{"username":"u","passwordFile":"SECRET"}}""", "http.passwordFile")]
    [InlineData("""{"http":{"tls":{"certificate":"CERTIFICATE","key":"SECRET"}}}""", "http.tls.key")]
    public void Of_SecretThatOthersMayRead_NamesIt(string json, string path)
    {
        foreach ((UnixFileMode mode, string who) in new[]
        {
            (Owner | UnixFileMode.GroupRead, "in its group"), (Owner | UnixFileMode.OtherRead, "everybody on this machine"),
            (Owner | UnixFileMode.GroupWrite, "in its group"), (Owner | UnixFileMode.OtherWrite, "everybody on this machine"),
        })
        {
            string warning = Assert.Single(Of(json, mode));
            Assert.StartsWith(path + ": ", warning, StringComparison.Ordinal);
            Assert.Contains(who, warning, StringComparison.Ordinal);
        }

        Assert.Empty(Of(json, Owner));
    }

    [Theory]
    [InlineData(UnixFileMode.OtherWrite, true)]
    [InlineData(UnixFileMode.GroupWrite, true)]
    [InlineData(UnixFileMode.GroupRead | UnixFileMode.OtherRead, false)]
    public void Of_FolderOfTheKeyFile(UnixFileMode more, bool isWeak)
    {
        string below = Path.Combine(folder.FullName, "keys");
        Directory.CreateDirectory(below);
        File.SetUnixFileMode(below, Owner | UnixFileMode.UserExecute | more);
        IEnumerable<string> warnings = Of("""{"devices":{"file":"keys/devices.json"}}""");
        Assert.Equal(isWeak, warnings.Any(w => w.StartsWith("devices.file: others may put files", StringComparison.Ordinal)));
    }

    [Fact]
    public void Hints_KeysOnPlainTcp_AreNoWarning()
    {
        GatewayConfiguration configuration = Read("{}", Owner);
        Assert.Contains("tagged", Assert.Single(SecurityWarnings.Hints(configuration)), StringComparison.Ordinal);
        Assert.Empty(SecurityWarnings.Of(configuration));
    }

    [Theory]
    [InlineData("""{"http":{"endpoint":"0.0.0.0:9183"}}""", "http.endpoint", "http.tokenFile")]
    [InlineData("""{"http":{"endpoint":"[::]:9183","tls":{"certificate":"CERTIFICATE","key":"SECRET"}}}""", "http.endpoint", "loopback")]
    [InlineData("""{"http":{"endpoint":"192.168.1.2:9183","username":"u"}}""", "http.username", "http.passwordFile")]
    [InlineData("""{"http":{"passwordFile":"SECRET"}}""", "http.username", "belong together")]
    [InlineData("""{"http":{"tls":{"certificate":"CERTIFICATE"}}}""", "http.tls", "belong together")]
    [InlineData("""{"http":{"tls":{"certificate":"MISSING","key":"SECRET"}}}""", "http.tls.certificate", "does not exist")]
    [InlineData("""{"http":{"username":"a:b","passwordFile":"SECRET"}}""", "http.username", "colon")]
    public void Read_HttpThatCannotBeMeant_IsAFault(string json, string path, string remedy)
    {
        ConfigurationResult result = ReadResult(json, Owner);
        Assert.Contains(
            result.Faults, f => f.Path == path && $"{f.Problem} {f.Remedy}".Contains(remedy, StringComparison.Ordinal));
    }

    private IEnumerable<string> Of(string json, UnixFileMode secretMode = Owner) => SecurityWarnings.Of(Read(json, secretMode));

    private GatewayConfiguration Read(string json, UnixFileMode secretMode)
    {
        ConfigurationResult result = ReadResult(json, secretMode);
        Assert.Empty(result.Faults);
        return result.Configuration;
    }

    private ConfigurationResult ReadResult(string json, UnixFileMode secretMode)
    {
        foreach (string name in new[] { "SECRET", "CERTIFICATE" })
            File.WriteAllText(Path.Combine(folder.FullName, name), "something");
        File.WriteAllText(Path.Combine(folder.FullName, "EMPTY"), "");
        foreach (string name in new[] { "SECRET", "EMPTY" })
            File.SetUnixFileMode(Path.Combine(folder.FullName, name), name == "SECRET" ? secretMode : Owner);
        string file = Path.Combine(folder.FullName, "gateway.json");
        File.WriteAllText(file, json);
        return ConfigurationReader.Read(file, new Hashtable(), ["gateway.id=box"]);
    }
}
