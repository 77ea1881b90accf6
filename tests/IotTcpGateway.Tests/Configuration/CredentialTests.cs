using System.Collections;
using System.Text.Json.Nodes;

using IotTcpGateway.Configuration;

using Xunit;

namespace IotTcpGateway.Tests.Configuration;

public sealed class CredentialTests : IDisposable
{
    private const string Variable = "CREDENTIALS_DIRECTORY";

    private readonly DirectoryInfo directory = Directory.CreateTempSubdirectory("iotgw-test-");
    private readonly string? before = Environment.GetEnvironmentVariable(Variable);

    public CredentialTests() => Environment.SetEnvironmentVariable(Variable, directory.FullName);

    public void Dispose()
    {
        Environment.SetEnvironmentVariable(Variable, before);
        directory.Delete(recursive: true);
    }

    [Fact]
    public void Read_EveryKeyThatNamesAFileToRead_TakesACredential()
    {
        string file = Path.Combine(directory.FullName, "some.secret");
        File.WriteAllText(file, "secret");
        List<string> keys = [.. KeysThatOfferACredential(ConfigurationSchema.Create(), "")];
        Assert.Superset(new HashSet<string> { "mqtt.passwordFile", "mqtt.tls.ca", "mqtt.tls.certificate", "mqtt.tls.key" }, keys.ToHashSet());
        foreach (string key in keys)
        {
            ConfigurationResult result = Read($"{key}=credential:some.secret");
            // What else the key wants, a user name beside a password say, is not the matter here.
            Assert.DoesNotContain(result.Faults, fault => fault.Path == key);
            Assert.DoesNotContain(result.Faults, fault => fault.IsOfFile);
        }
    }

    [Fact]
    public void Read_Credential_IsAFileOfTheServiceManager()
    {
        string file = Path.Combine(directory.FullName, "mqtt-password");
        File.WriteAllText(file, "secret");
        ConfigurationResult result = Read("mqtt.username=u", "mqtt.passwordFile=credential:mqtt-password");
        Assert.Empty(result.Faults);
        Assert.Equal(file, result.Configuration.Mqtt.PasswordFile);
    }

    [Fact]
    public void Read_CredentialInAFile_IsNotTakenForAPathBesideIt()
    {
        string main = Path.Combine(directory.FullName, "gateway.json");
        File.WriteAllText(main, """{"mqtt":{"tls":{"ca":"credential:ca"}}}""");
        File.WriteAllText(Path.Combine(directory.FullName, "ca"), "");
        ConfigurationResult result = ConfigurationReader.Read(main, new Hashtable(), []);
        Assert.Empty(result.Faults);
        Assert.Equal(Path.Combine(directory.FullName, "ca"), result.Configuration.Mqtt.Tls.Ca);
    }

    [Fact]
    public void Read_CredentialThatWasNotLoaded_SaysHowToLoadIt()
    {
        ConfigurationFault fault = Assert.Single(Read("mqtt.tls.ca=credential:tls-key").Faults);
        Assert.Equal("mqtt.tls.ca", fault.Path);
        Assert.Contains(Path.Combine(directory.FullName, "tls-key"), fault.Problem);
        Assert.Contains("LoadCredential=tls-key:FILE", fault.Remedy);
        Assert.True(fault.IsOfFile);
    }

    [Fact]
    public void Read_CredentialOutsideOfTheService_SaysSo()
    {
        Environment.SetEnvironmentVariable(Variable, null);
        ConfigurationResult result = Read("mqtt.tls.ca=credential:tls-key", "devices.file=keys.json");
        Assert.Contains(Variable, Assert.Single(result.Faults).Problem);
        Assert.Null(result.FaultBesidesFiles);
        Assert.Equal(Path.GetFullPath("keys.json"), result.Configuration.Devices.File);
    }

    [Fact]
    public void Read_CredentialOfAListener_TheListenerIsUnderstoodAllTheSame()
    {
        Environment.SetEnvironmentVariable(Variable, null);
        ConfigurationResult result = Read(
            "listeners.0.endpoint=0.0.0.0:7000", "listeners.0.tls.certificate=/nowhere.pem", "listeners.0.tls.key=credential:tls-key");
        Assert.NotEmpty(result.Faults);
        Assert.Null(result.FaultBesidesFiles);
        Assert.Equal("0.0.0.0:7000", Assert.Single(result.Configuration.Listeners).Endpoint);
        Assert.NotNull(result.Configuration.Listeners[0].Tls);
        Assert.NotEmpty(result.Configuration.Gateway.Id);
    }

    [Theory]
    [InlineData("")]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("../gateway.json")]
    [InlineData("/etc/shadow")]
    [InlineData("a/b")]
    [InlineData("a\0b")]
    public void Read_NameThatIsNone_IsAFault(string name)
    {
        ConfigurationFault fault = Assert.Single(Read("mqtt.tls.ca=credential:" + name).Faults);
        Assert.Contains("cannot be the name of a credential", fault.Problem);
        Assert.False(fault.IsOfFile);
    }

    [Theory]
    [InlineData("devices.file")]
    [InlineData("buffer.directory")]
    public void Read_CredentialForWhatIsWritten_IsAFault(string key)
    {
        File.WriteAllText(Path.Combine(directory.FullName, "x"), "");
        ConfigurationFault fault = Assert.Single(Read(key + "=credential:x").Faults);
        Assert.Equal(key, fault.Path);
        Assert.DoesNotContain("credential", fault.Remedy);
    }

    private ConfigurationResult Read(params string[] settings) => ConfigurationReader.Read(EmptyFile(), new Hashtable(), settings);

    private string EmptyFile()
    {
        string file = Path.Combine(directory.FullName, "empty.json");
        File.WriteAllText(file, "{}");
        return file;
    }

    // Keys of lists are asked for their first element.
    private static IEnumerable<string> KeysThatOfferACredential(JsonObject schema, string path)
    {
        if (schema["examples"]?.AsArray().Any(one => (string?)one == "credential:NAME") == true)
            yield return path;
        if (schema["items"] is JsonObject items)
        {
            foreach (string key in KeysThatOfferACredential(items, path + ".0"))
                yield return key;
        }

        foreach ((string name, JsonNode? below) in schema["properties"]?.AsObject() ?? [])
        {
            foreach (string key in KeysThatOfferACredential(below!.AsObject(), path.Length == 0 ? name : $"{path}.{name}"))
                yield return key;
        }
    }
}
