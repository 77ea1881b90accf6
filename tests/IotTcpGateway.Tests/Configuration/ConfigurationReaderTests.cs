using System.Collections;

using IotTcpGateway.Buffer;
using IotTcpGateway.Configuration;

using Xunit;

namespace IotTcpGateway.Tests.Configuration;

public sealed class ConfigurationReaderTests : IDisposable
{
    private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("iotgw-test-");
    private readonly Dictionary<string, string> environment = [];

    public void Dispose() => directory.Delete(recursive: true);

    [Fact]
    public void Read_Nothing_GivesTheDefaults()
    {
        GatewayConfiguration configuration = ReadRight("{}");
        Assert.Equal("0.0.0.0:7183", Assert.Single(configuration.Listeners).Endpoint);
        Assert.Equal(["hmac"], configuration.Listeners[0].Authentication);
        Assert.Equal(8 << 20, configuration.Buffer.Memory);
        Assert.Null(configuration.Http);
        Assert.Equal(Environment.MachineName, configuration.Gateway.Id);
        Assert.Matches("^iotgw-.+-[0-9a-f]{8}$", configuration.Mqtt.ClientId);
    }

    [Fact]
    public void Read_CommentsAndTrailingCommas_AreAllowed() =>
        Assert.Equal("x", ReadRight("""{ /* a */ "gateway": { "id": "x", }, // b""" + "\n}").Gateway.Id);

    [Fact]
    public void Read_ConfD_IsMergedInNameOrderKeyByKey()
    {
        Write("conf.d/20-b.json", """{"mqtt":{"inFlight":20}}""");
        Write("conf.d/10-a.json", """{"mqtt":{"inFlight":10,"username":"a"}}""");
        GatewayConfiguration configuration = ReadRight("""{"mqtt":{"username":"main","qos":1}}""");
        Assert.Equal(20, configuration.Mqtt.InFlight);
        Assert.Equal("a", configuration.Mqtt.Username);
    }

    [Fact]
    public void Read_EnvironmentOverFilesAndSetOverEnvironment()
    {
        environment["IOTGW__MQTT__USERNAME"] = "environment";
        environment["IOTGW__MQTT__INFLIGHT"] = "33";
        environment["IOTGW__LISTENERS__0__MAXBODY"] = "1 KiB";
        GatewayConfiguration configuration = ReadRight(
            """{"mqtt":{"username":"file","inFlight":1}}""", "mqtt.username=set", "buffer.whenFull=drop-oldest");
        Assert.Equal("set", configuration.Mqtt.Username);
        Assert.Equal(33, configuration.Mqtt.InFlight);
        Assert.Equal(1024, configuration.Listeners[0].MaxBody);
        Assert.Equal(WhenFull.DropOldest, configuration.Buffer.WhenFull);
    }

    [Fact]
    public void Read_ListsFromText_TakeCommasIndexesAndJson()
    {
        Assert.Equal(["mqtt://a", "mqtt://b"], ReadRight("{}", "mqtt.brokers=mqtt://a, mqtt://b").Mqtt.Brokers);
        Assert.Equal(["mqtt://a"], ReadRight("{}", "mqtt.brokers=[\"mqtt://a\"]").Mqtt.Brokers);
        Assert.Equal(["mqtt://a", "mqtt://c"], ReadRight("""{"mqtt":{"brokers":["mqtt://a","mqtt://b"]}}""", "mqtt.brokers.1=mqtt://c").Mqtt.Brokers);
    }

    [Fact]
    public void Read_RelativePaths_AreOfTheFileThatNamesThem()
    {
        Write("conf.d/x.json", """{"devices":{"file":"keys.json"}}""");
        Write("ca.pem", "");
        GatewayConfiguration configuration = ReadRight("""{"mqtt":{"tls":{"ca":"ca.pem"}}}""");
        Assert.Equal(Path.Combine(directory.FullName, "ca.pem"), configuration.Mqtt.Tls.Ca);
        Assert.Equal(Path.Combine(directory.FullName, "conf.d", "keys.json"), configuration.Devices.File);
    }

    [Theory]
    [InlineData("""{"mqt":{}}""", "mqt", "did you mean \"mqtt\"?")]
    [InlineData("""{"mqtt":{"broker":[]}}""", "mqtt.broker", "did you mean \"brokers\"?")]
    [InlineData("""{"listeners":[{"maxBod":"1 KiB"}]}""", "listeners.0.maxBod", "did you mean \"maxBody\"?")]
    [InlineData("""{"listeners":[{"maxBody":4096}]}""", "listeners.0.maxBody", "a size from 64 B to 16 KiB")]
    [InlineData("""{"listeners":[{"maxBody":"1 MiB"}]}""", "listeners.0.maxBody", "a size from 64 B to 16 KiB")]
    [InlineData("""{"listeners":[{"idleTimeout":"90"}]}""", "listeners.0.idleTimeout", "a duration from")]
    [InlineData("""{"listeners":[{"endpoint":"7183"}]}""", "listeners.0.endpoint", "an IP address and port")]
    [InlineData("""{"listeners":[{"endpoint":"::1"}]}""", "listeners.0.endpoint", "an IP address and port")]
    [InlineData("""{"listeners":[{"allowFrom":["192.168.0.0/33"]}]}""", "listeners.0.allowFrom.0", "a CIDR block")]
    [InlineData("""{"listeners":[{"authentication":["password"]}]}""", "listeners.0.authentication.0", "one of \"hmac\", \"none\"")]
    [InlineData("""{"listeners":[{"authentication":[]}]}""", "listeners.0.authentication", "name \"hmac\"")]
    [InlineData("""{"listeners":[]}""", "listeners", "name at least one")]
    [InlineData("""{"listeners":[{"name":"a"},{"name":"a","endpoint":"[::]:1"}]}""", "listeners.1.name", "a name of its own")]
    [InlineData("""{"listeners":[{"name":"a"},{"name":"b"}]}""", "listeners.1.endpoint", "an endpoint of its own")]
    [InlineData("""{"gateway":{"id":"a/b"}}""", "gateway.id", "1 to 64 of")]
    [InlineData("""{"gateway":{"trustClock":"yes"}}""", "gateway.trustClock", "true or false")]
    [InlineData("""{"mqtt":{"brokers":["http://x"]}}""", "mqtt.brokers.0", "mqtt://host")]
    [InlineData("""{"mqtt":{"brokers":"mqtt://x"}}""", "mqtt.brokers", "a list of up to")]
    [InlineData("""{"mqtt":{"version":"4"}}""", "mqtt.version", "5 or \"3.1.1\"")]
    [InlineData("""{"mqtt":{"qos":0}}""", "mqtt.qos", "buffer.ack \"memory\"")]
    [InlineData("""{"mqtt":{"qos":2}}""", "mqtt.qos", "a whole number from 0 to 1")]
    [InlineData("""{"mqtt":{"inFlight":1.5}}""", "mqtt.inFlight", "a whole number")]
    [InlineData("""{"mqtt":{"topic":"a/b"}}""", "mqtt.topic", "contains {device}")]
    [InlineData("""{"mqtt":{"topic":"a/{device}/#"}}""", "mqtt.topic", "contains {device}")]
    [InlineData("""{"mqtt":{"topic":"a/{channel}/{device}"}}""", "mqtt.topic", "{channel} as its last level")]
    [InlineData("""{"mqtt":{"topic":"a/{devce}/{device}"}}""", "mqtt.topic", "contains {device}")]
    [InlineData("""{"mqtt":{"payload":"raw","batch":{"messages":2}}}""", "mqtt.batch.messages", "payload \"json\"")]
    [InlineData("""{"mqtt":{"payload":"raw","topic":"{device}/{channel}"}}""", "mqtt.topic", "leave {channel} out")]
    [InlineData("""{"mqtt":{"username":"u","passwordFile":"/nonexistent/x"}}""", "mqtt.passwordFile", "may read")]
    [InlineData("""{"mqtt":{"tls":{"certificate":"/dev/null"}}}""", "mqtt.tls", "set both or none")]
    [InlineData("""{"http":{"endpoint":"0.0.0.0:9183"}}""", "http.endpoint", "a loopback address")]
    [InlineData("""{"buffer":{"memory":"16 GiB"}}""", "buffer.memory", "lower buffer.memory")]
    [InlineData("""{"buffer":7}""", "buffer", "an object with the keys")]
    [InlineData("""[]""", "gateway.json", "between { and }")]
    public void Read_Wrong_SaysWhereAndWhatWouldBeRight(string json, string path, string remedy)
    {
        ConfigurationFault fault = Assert.Single(Read(json).Faults);
        Assert.EndsWith(path, fault.Path, StringComparison.Ordinal);
        Assert.Contains(remedy, fault.Remedy, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', fault.ToString());
    }

    [Fact]
    public void Read_SeveralFaults_AreAllTold() =>
        Assert.Equal(3, Read("""{"a":1,"mqtt":{"qos":7},"buffer":{"memory":"x"}}""").Faults.Count);

    [Theory]
    [InlineData("{\n  \"a\": }", ":2:8")]
    [InlineData("", ":1:1")]
    public void Read_NotJson_SaysLineAndColumn(string json, string position)
    {
        ConfigurationFault fault = Assert.Single(Read(json).Faults);
        Assert.Contains("gateway.json" + position, fault.Path, StringComparison.Ordinal);
        Assert.Contains("not JSON", fault.Problem, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{\"mqtt\":{},\n \"mqtt\":{}}", ":2:2", "mqtt")]
    [InlineData("{\"mqtt\":{\"qos\":1,/*\n*/\"\\u0071os\":1}}", ":2:3", "qos")]
    [InlineData("{\"listeners\":[{\"name\":\"a\"},{\"name\":\"a\",\"name\":\"a\"}]}", ":1:40", "name")]
    public void Read_KeyTwice_SaysWhichAndWhere(string json, string position, string key)
    {
        ConfigurationFault fault = Assert.Single(Read(json).Faults);
        Assert.EndsWith("gateway.json" + position, fault.Path, StringComparison.Ordinal);
        Assert.Equal($"the key \"{key}\" is there twice", fault.Problem);
    }

    [Theory]
    [InlineData("mqtt.usrname=x", "did you mean \"username\"?")]
    [InlineData("mqtt.username.x=y", "a text")]
    [InlineData("mqtt.username", "write it as")]
    [InlineData("listeners.99.name=x", "a list of up to")]
    [InlineData("mqtt.inFlight=many", "a whole number")]
    public void Read_WrongSetting_SaysWhatWouldBeRight(string setting, string remedy) =>
        Assert.Contains(remedy, Assert.Single(Read("{}", setting).Faults).Remedy, StringComparison.Ordinal);

    [Fact]
    public void Read_UnknownVariable_IsAFaultThatNamesIt()
    {
        environment["IOTGW__MQTT__USERNME"] = "x";
        ConfigurationFault fault = Assert.Single(Read("{}").Faults);
        Assert.Equal("IOTGW__MQTT__USERNME", fault.Path);
        Assert.Contains("\"username\"", fault.Remedy, StringComparison.Ordinal);
    }

    [Fact]
    public void Read_MissingFile_IsAFaultOnlyIfItWasNamed()
    {
        string missing = Path.Combine(directory.FullName, "none.json");
        Assert.Single(ConfigurationReader.Read(missing, environment, []).Faults);
    }

    [Theory]
    [InlineData("{\"mqtt\":{\"username\":\"\\ud800\"}}")] // half of a surrogate pair
    [InlineData("{\"\\udc00\":1}")]
    [InlineData("{\"mqtt\":{\"username\":\"\u00ff\"}}")] // written as a byte that is no UTF-8
    [InlineData("{\"\u00ff\":1}")]
    public void Read_TextThatIsNotUnicode_IsAFaultWithItsPlace(string json)
    {
        // Bug, found by fuzzing: the library throws when such a text is asked for, and so did the gateway at its start.
        string file = Path.Combine(directory.FullName, "gateway.json");
        File.WriteAllBytes(file, System.Text.Encoding.Latin1.GetBytes(json));
        ConfigurationFault fault = Assert.Single(ConfigurationReader.Read(file, new Hashtable(), []).Faults);
        Assert.StartsWith(file + ":1:", fault.Path, StringComparison.Ordinal);
        Assert.Contains("not Unicode", fault.Problem, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("http={\"endpoint\":\"127.0.0.1:1\",\"endpoint\":\"127.0.0.1:2\"}")]
    [InlineData("http={\"endpoint\":\"\\ud800\"}")]
    [InlineData("mqtt.brokers=[\"\\ud800\"]")]
    public void Read_JsonOnTheCommandLineThatIsNotSound_IsAFault(string setting)
    {
        // Bug, found by fuzzing: as in a file.
        Assert.NotEmpty(Read("{}", setting).Faults);
    }

    [Theory]
    [InlineData("""{"mqtt":[]}""", "mqtt.qos=1", "mqtt")]
    [InlineData("""{"listeners":[[1]]}""", "listeners.0.name=a", "listeners.0")]
    [InlineData("""{"listeners":{"0":{}}}""", "listeners.0.name=a", "listeners")]
    public void Read_AListForASectionThatIsSetToo_IsAFaultOfTheFile(string json, string setting, string path)
    {
        // Bug, found by fuzzing: the key was taken for an index, and the program ended with a stack.
        Assert.Contains(Read(json, setting).Faults, fault => fault.Path == path);
    }

    [Fact]
    public void Read_AnEmptyKey_IsAFaultWithAPlace()
    {
        // Bug, found by fuzzing: the fault began with a colon.
        Assert.Equal("\"\"", Assert.Single(Read("""{"":1}""").Faults).Path);
        Assert.Equal("mqtt.\"\"", Assert.Single(Read("""{"mqtt":{"":1}}""").Faults).Path);
    }

    [Fact]
    public void Write_WhatWasRead_IsReadAgain()
    {
        // Bug, found by fuzzing: what was absent was written as null, which nobody takes.
        string written = GatewayRules.Root.Write(ReadRight("""{"mqtt":{"qos":1}}"""))!.ToJsonString();
        Assert.DoesNotContain("null", written, StringComparison.Ordinal);
        Assert.Equal(written, GatewayRules.Root.Write(ReadRight(written))!.ToJsonString());
    }

    private GatewayConfiguration ReadRight(string json, params string[] settings)
    {
        ConfigurationResult result = Read(json, settings);
        Assert.Empty(result.Faults);
        return result.Configuration;
    }

    private ConfigurationResult Read(string json, params string[] settings)
    {
        Write("gateway.json", json);
        return ConfigurationReader.Read(Path.Combine(directory.FullName, "gateway.json"), (IDictionary)environment, settings);
    }

    private void Write(string name, string text)
    {
        string path = Path.Combine(directory.FullName, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }
}
