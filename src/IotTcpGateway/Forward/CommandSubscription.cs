using Microsoft.Extensions.Logging;

using MQTTnet;
using MQTTnet.Protocol;

namespace IotTcpGateway.Forward;

/// <summary>
/// The subscription to the commands, on one link. No SUBACK is no reason to drop it: pings tell whether it lives.
/// </summary>
internal sealed partial class CommandSubscription(
    IMqttClient client, ForwardContext context, BrokerTerms terms, LinkLoss loss)
{
    private Task? subscribing;
    private bool isAnswered;

    public bool IsBegun => subscribing is not null;

    /// <summary>Whether the broker was asked and has not answered.</summary>
    public bool IsOutstanding => IsBegun && !isAnswered;

    /// <summary>Number of the request on its link.</summary>
    public long Order { get; private set; }

    public void Begin(long order, CancellationToken linkEnded)
    {
        Order = order;
        if (terms.CanSubscribe)
        {
            subscribing = SubscribeAsync(linkEnded);
            return;
        }

        subscribing = Task.CompletedTask;
        isAnswered = true;
        LogNoCommands(context.Logger, context.Topics.CommandFilter, "it takes no wildcards");
    }

    /// <summary>Completes when it came to its end, one way or the other.</summary>
    public Task WhenQuiet() => subscribing ?? Task.CompletedTask;

    private async Task SubscribeAsync(CancellationToken linkEnded)
    {
        try
        {
            MqttClientSubscribeResult result = await client.SubscribeAsync(Options(), linkEnded).ConfigureAwait(false);
            isAnswered = true;
            foreach (MqttClientSubscribeResultItem item in result.Items)
            {
                if (item.ResultCode > MqttClientSubscribeResultCode.GrantedQoS2)
                    LogNoCommands(context.Logger, context.Topics.CommandFilter, item.ResultCode.ToString());
            }
        }
        catch (Exception e)
        {
            // Of any type, as with publishing (see Outbox).
            loss.Set(e);
        }
    }

    private MqttClientSubscribeOptions Options()
    {
        MqttTopicFilterBuilder filter = new MqttTopicFilterBuilder()
            .WithTopic(context.Topics.CommandFilter)
            .WithQualityOfServiceLevel(MqttQualityOfServiceLevel.AtLeastOnce);
        // No local: a response topic that names a command's topic must not make a circle.
        if (terms.IsVersion5)
            filter = filter.WithNoLocal().WithRetainHandling(MqttRetainHandling.DoNotSendOnSubscribe);
        return new MqttClientSubscribeOptionsBuilder().WithTopicFilter(filter).Build();
    }

    [LoggerMessage(ForwardEvents.NoCommands, LogLevel.Warning,
        "the broker does not let the gateway subscribe {Filter} ({Why}): commands will not arrive")]
    private static partial void LogNoCommands(ILogger logger, string filter, string why);
}
