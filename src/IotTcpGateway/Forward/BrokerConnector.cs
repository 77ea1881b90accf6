using System.Text;

using IotTcpGateway.Escaping;

using MQTTnet;
using MQTTnet.Formatter;
using MQTTnet.Protocol;

namespace IotTcpGateway.Forward;

/// <summary>What came of an attempt to connect: a client and what the broker allows it, or why not.</summary>
internal sealed record ConnectOutcome(IMqttClient? Client, BrokerTerms? Terms, LinkEvent Event, string Why);

/// <summary>
/// Makes one connection to a broker, with a client of its own: MQTTnet's cannot be trusted to connect twice.
/// </summary>
internal sealed class BrokerConnector(ForwardContext context, BrokerAddress broker, bool is311)
{
    private MqttOptions Options => context.Options;

    /// <summary>Connects.</summary>
    /// <param name="loss">Told when the link that comes about is lost.</param>
    /// <param name="received">Called with each message; must return at once.</param>
    /// <param name="stopping">Ends the attempt.</param>
    public async Task<ConnectOutcome> ConnectAsync(
        LinkLoss loss, Action<MqttApplicationMessage> received, CancellationToken stopping)
    {
        var provider = new LinkStreamProvider(broker, Options.Tls, Options.MaxInboundPacket);
        IMqttClient client = new MqttClientFactory().CreateMqttClient();
        client.DisconnectedAsync += gone =>
        {
            loss.Set(BrokerReasons.OfFailure(gone));
            return Task.CompletedTask;
        };
        client.ApplicationMessageReceivedAsync += message =>
        {
            received(message.ApplicationMessage);
            return Task.CompletedTask;
        };
        ConnectOutcome outcome = await TryConnectAsync(client, provider, stopping).ConfigureAwait(false);
        if (outcome.Client is null)
            Dispose(client);
        return outcome;
    }

    /// <summary>Disposes a client that may be taking itself apart at this moment.</summary>
    public static void Dispose(IMqttClient client)
    {
        try
        {
            client.Dispose();
        }
        catch (Exception)
        {
            // It does so without a lock, and whoever comes second may meet anything. Then the first one has done it.
        }
    }

    /// <summary>Whether the broker takes a connection by TCP, or TLS, now; nothing is said in MQTT.</summary>
    public async Task<bool> AnswersAsync(CancellationToken stopping)
    {
        try
        {
            using var timeout = new CancellationTokenSource(Options.ConnectTimeout, context.Time);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(stopping, timeout.Token);
            var provider = new LinkStreamProvider(broker, Options.Tls, Options.MaxInboundPacket);
            await using Stream stream = await provider.ConnectAsync(broker.EndPoint, limit.Token).ConfigureAwait(false);
            return true;
        }
        catch (Exception e) when (LinkStreamProvider.IsLinkFailure(e))
        {
            return false;
        }
    }

    private async Task<ConnectOutcome> TryConnectAsync(
        IMqttClient client, LinkStreamProvider provider, CancellationToken stopping)
    {
        using var timeout = new CancellationTokenSource(Options.ConnectTimeout, context.Time);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(stopping, timeout.Token);
        MqttClientConnectResult result;
        try
        {
            result = await client.ConnectAsync(OptionsOf(provider), limit.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (LinkStreamProvider.IsLinkFailure(e))
        {
            if (limit.IsCancellationRequested)
                return Failed(LinkEvent.Unreachable, $"no answer within {Options.ConnectTimeout.TotalSeconds:0.#} s");
            return Failed(
                provider.HasConnected ? LinkEvent.Unanswered : LinkEvent.Unreachable,
                SafeText.Clean(e.GetBaseException().Message));
        }

        if (result.ResultCode != MqttClientConnectResultCode.Success)
        {
            int code = (int)result.ResultCode;
            return Failed(
                BrokerReasons.OfConnAck(code),
                $"CONNACK 0x{code:X2} {result.ResultCode} {SafeText.Clean(result.ReasonString)}".TrimEnd());
        }

        BrokerTerms terms = BrokerTerms.Of(result, Options, !is311);
        return terms.CanConfirm || Options.Qos == 0
            ? new ConnectOutcome(client, terms, LinkEvent.Held, "")
            : Failed(LinkEvent.Unwelcome, "it takes messages at QoS 0 only and would confirm none");
    }

    private static ConnectOutcome Failed(LinkEvent occurred, string why) => new(null, null, occurred, why);

    private MqttClientOptions OptionsOf(LinkStreamProvider provider)
    {
        MqttClientOptionsBuilder builder = new MqttClientOptionsBuilder()
            .WithTcpServer(broker.Host, broker.Port)
            .WithStreamProvider(provider)
            .WithProtocolVersion(is311 ? MqttProtocolVersion.V311 : MqttProtocolVersion.V500)
            .WithClientId(Options.ClientId)
            .WithCleanStart(true)
            .WithKeepAlivePeriod(Options.KeepAlive)
            .WithTimeout(Options.ConnectTimeout)
            .WithWillTopic(context.Topics.GatewayStatus)
            .WithWillPayload(context.OfflinePayload())
            .WithWillRetain(true)
            .WithWillQualityOfServiceLevel(MqttQualityOfServiceLevel.AtLeastOnce)
            .WithoutPacketFragmentation();
        if (!is311)
            builder = builder.WithMaximumPacketSize((uint)Options.MaxInboundPacket);
        if (Options.Username is not null)
            builder = builder.WithCredentials(Options.Username, Password());
        return builder.Build();
    }

    // Read at each attempt: a changed password needs no restart.
    private byte[]? Password()
    {
        if (Options.PasswordFile is not { } file)
            return null;
        try
        {
            return Encoding.UTF8.GetBytes(File.ReadAllText(file).TrimEnd('\r', '\n'));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new LinkFileException("mqtt.passwordFile", file, e.Message);
        }
    }
}
