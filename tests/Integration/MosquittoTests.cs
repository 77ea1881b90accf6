using IotTcpGateway.TestKit;

using Xunit;

namespace IotTcpGateway.Integration;

/// <summary>Every way of connecting to a mosquitto, each with a restart of the broker.</summary>
public sealed class MosquittoTests
{
    [Fact]
    public async Task Forward_BrokerRestarted_EverythingArrivesOnceAndInOrder()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await Crossing.RunAsync(
            broker, subscriber.Deliveries, atEnd: gateway => Assert.Equal("5", gateway.Status().Broker.MqttVersion));
        Assert.Equal(0, subscriber.Deliveries.OutOfOrder);
        Assert.Equal(1, subscriber.Sessions);
    }

    [Fact]
    public async Task Forward_TlsWithOwnAuthority_EverythingArrives()
    {
        using var authority = new TestAuthority("plant");
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(
            new MosquittoOptions { Authority = authority });
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await Crossing.RunAsync(broker, subscriber.Deliveries, configuration =>
        {
            // By name: the certificate's name is checked.
            configuration.Mqtt.Brokers = [$"mqtts://localhost:{broker.Port}"];
            configuration.Mqtt.Tls.Ca = authority.CaFile;
        });
    }

    [Fact]
    public async Task Forward_BrokerRequiresClientCertificate_EverythingArrives()
    {
        using var authority = new TestAuthority("plant");
        CertificateFiles own = authority.Issue("gateway");
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(
            new MosquittoOptions { Authority = authority, RequiresCertificate = true });
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await Crossing.RunAsync(broker, subscriber.Deliveries, configuration =>
        {
            configuration.Mqtt.Brokers = [$"mqtts://127.0.0.1:{broker.Port}"];
            configuration.Mqtt.Tls.Ca = authority.CaFile;
            configuration.Mqtt.Tls.Certificate = own.Certificate;
            configuration.Mqtt.Tls.Key = own.Key;
        });
    }

    [Fact]
    public async Task Forward_UserAndPasswordFromFile_EverythingArrives()
    {
        using var file = new TemporaryFile("s3cret-ä\n");
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(
            new MosquittoOptions { Login = ("gateway", "s3cret-ä") });
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await Crossing.RunAsync(broker, subscriber.Deliveries, configuration =>
        {
            configuration.Mqtt.Username = "gateway";
            configuration.Mqtt.PasswordFile = file.Path;
        });
    }

    [Fact]
    public async Task Forward_Version311_EverythingArrives()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await Crossing.RunAsync(
            broker,
            subscriber.Deliveries,
            configuration => configuration.Mqtt.Version = "3.1.1",
            atEnd: gateway => Assert.Equal("3.1.1", gateway.Status().Broker.MqttVersion));
    }

    [Fact]
    public async Task Forward_TopicWithChannel_OneMessageAChannelWithItsParts()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await Crossing.RunAsync(
            broker,
            subscriber.Deliveries,
            configuration => configuration.Mqtt.Topic = "telemetry/{gateway}/{device}/{channel}",
            Layout.JsonPerChannel);
    }

    [Fact]
    public async Task Forward_RawPayload_BodiesAndUserPropertiesArrive()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await Crossing.RunAsync(
            broker, subscriber.Deliveries, configuration => configuration.Mqtt.Payload = "raw", Layout.Raw);
    }

    [Fact]
    public async Task Forward_Batches_FewerPublishesAndEverythingArrives()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await Crossing.RunAsync(
            broker,
            subscriber.Deliveries,
            configuration =>
            {
                configuration.Mqtt.Batch.Messages = 20;
                configuration.Mqtt.Batch.Linger = TimeSpan.FromMilliseconds(20);
            },
            atEnd: gateway => Assert.InRange(gateway.Status().Broker.Published, 1, subscriber.Deliveries.Count / 2));
    }

    [Fact]
    public async Task Forward_TwoListeners_DevicesOfBothArrive()
    {
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync();
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start(["v4"], broker.Port, configuration =>
        {
            configuration.Listeners =
                [RunningGateway.Listener("four", "127.0.0.1:0"), RunningGateway.Listener("six", "[::]:0")];
            configuration.Listeners[0].Authentication = ["hmac"];
            configuration.Listeners[1].Authentication = ["none"];
        });
        int six = gateway.EndpointOf("six").Port;
        await using var devices = new FieldDevices(
        [
            new FieldDevice(1, "v4", gateway.EndpointOf("four"), gateway.Keys["v4"], isTagged: true),
            new FieldDevice(2, "v6", new(System.Net.IPAddress.IPv6Loopback, six), key: null, isTagged: false),
            new FieldDevice(3, "v4-mapped", new(System.Net.IPAddress.Loopback, six), key: null, isTagged: false),
        ]);
        await devices.SendAsync(50);
        await broker.RestartAsync();
        await devices.SendAsync(50);
        await devices.FlushAsync(gateway);
        devices.AreAllAcknowledged();
        await devices.ArriveExactlyAsync(subscriber.Deliveries);
        (string, string)[] addresses = [("v4", "127.0.0.1"), ("v6", "::1"), ("v4-mapped", "127.0.0.1")];
        foreach ((string id, string address) in addresses)
        {
            await subscriber.SeesAsync(
                $"telemetry/gw/{id}/status", json => json.GetProperty("address").GetString() == address);
        }
    }

    [Fact]
    public async Task Connect_CertificateOfAStranger_NothingIsForwardedNorAcknowledged()
    {
        using var authority = new TestAuthority("plant");
        using var stranger = new TestAuthority("stranger");
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(
            new MosquittoOptions { Authority = stranger });
        await StaysOutAsync(broker, configuration =>
        {
            configuration.Mqtt.Brokers = [$"mqtts://127.0.0.1:{broker.Port}"];
            configuration.Mqtt.Tls.Ca = authority.CaFile;
        });
    }

    [Fact]
    public async Task Connect_WrongPassword_NothingIsForwardedNorAcknowledged()
    {
        using var file = new TemporaryFile("wrong");
        await using MosquittoBroker broker = await MosquittoBroker.StartAsync(
            new MosquittoOptions { Login = ("gateway", "right") });
        await StaysOutAsync(broker, configuration =>
        {
            configuration.Mqtt.Username = "gateway";
            configuration.Mqtt.PasswordFile = file.Path;
        });
    }

    private static async Task StaysOutAsync(
        MosquittoBroker broker, Action<Configuration.GatewayConfiguration> configure)
    {
        await using Subscriber subscriber = await Subscriber.StartAsync(broker.ClientPort, RunningGateway.Id);
        await using RunningGateway gateway = RunningGateway.Start([], broker.Port, configure);
        await using var devices = new FieldDevices(gateway.Keys, gateway.Endpoint, 2);
        await devices.SendAsync(5);
        await Patience.UntilAsync(
            () => gateway.Status() is { Broker.LastFailure.Length: > 0, Buffer.Records: 10 },
            () => $"no failure is told, or frames are not kept: {gateway.Status()}");
        Assert.False(gateway.Status().Broker.IsConnected);
        Assert.Equal(0, devices.Acknowledged);
        Assert.Equal(0, subscriber.Deliveries.Count);
    }
}
