using Microsoft.Extensions.Logging;

namespace IotTcpGateway.Forward;

/// <summary>
/// Tells the log of changes of the link and counts repetitions: a broker that is away, or takes the gateway in and
/// throws it out again, costs a few lines however long it lasts.
/// </summary>
internal sealed partial class OutageLog(ILogger logger, TimeProvider time)
{
    private const int WhysToldMax = 8;
    private static readonly TimeSpan ReminderAfter = TimeSpan.FromMinutes(10);

    private int attempts;
    private bool isLossTold;
    private bool isFlapping;
    private readonly HashSet<string> toldWhys = [];
    private string toldUnwelcome = "";
    private long toldUnwelcomeAt;

    public void Connected(string broker, string version, int window)
    {
        if (!isFlapping)
            LogConnected(logger, broker, version, window, attempts);
    }

    /// <summary>The link was there for a while: what comes next is a new story.</summary>
    public void Held(string broker)
    {
        if (isFlapping)
            LogHoldsAgain(logger, broker, attempts);
        attempts = 0;
        isLossTold = isFlapping = false;
        toldUnwelcome = "";
        toldWhys.Clear();
    }

    public void Failed(string broker, string why)
    {
        attempts++;
        if (toldWhys.Count < WhysToldMax && toldWhys.Add(why))
            LogUnreachable(logger, broker, why);
    }

    public void Lost(string broker, string why, TimeSpan after)
    {
        attempts++;
        if (isFlapping)
            return;
        isFlapping = isLossTold;
        isLossTold = true;
        if (isFlapping)
            LogDoesNotHold(logger, broker, after.TotalSeconds, why);
        else
            LogLost(logger, broker, after.TotalSeconds, why);
    }

    public void Unwelcome(LinkEvent occurred, string why, TimeSpan wait)
    {
        if (why == toldUnwelcome && time.GetElapsedTime(toldUnwelcomeAt) < ReminderAfter)
            return;
        toldUnwelcome = why;
        toldUnwelcomeAt = time.GetTimestamp();
        LogUnwelcome(logger, occurred, why, wait.TotalSeconds);
    }

    [LoggerMessage(ForwardEvents.Connected, LogLevel.Information,
        "connected to {Broker} (MQTT {Version}, window {Window}) after {Failures} failures")]
    private static partial void LogConnected(ILogger logger, string broker, string version, int window, int failures);

    [LoggerMessage(ForwardEvents.Unreachable, LogLevel.Warning,
        "cannot connect to {Broker}: {Why}; frames are kept, trying on")]
    private static partial void LogUnreachable(ILogger logger, string broker, string why);

    [LoggerMessage(ForwardEvents.Lost, LogLevel.Warning,
        "the link to {Broker} is lost after {Seconds:0} s: {Why}; frames are kept, trying on")]
    private static partial void LogLost(ILogger logger, string broker, double seconds, string why);

    [LoggerMessage(ForwardEvents.DoesNotHold, LogLevel.Warning,
        "the link to {Broker} does not hold ({Seconds:0} s: {Why}); frames are kept, further losses are only counted")]
    private static partial void LogDoesNotHold(ILogger logger, string broker, double seconds, string why);

    [LoggerMessage(ForwardEvents.HoldsAgain, LogLevel.Information,
        "the link to {Broker} holds again after {Failures} failures")]
    private static partial void LogHoldsAgain(ILogger logger, string broker, int failures);

    [LoggerMessage(ForwardEvents.Unwelcome, LogLevel.Error,
        "the broker does not want this gateway ({Event}: {Why}): check credentials, its limits, and that no other gateway "
        + "has this client id; trying again within {Seconds:0} s")]
    private static partial void LogUnwelcome(ILogger logger, LinkEvent @event, string why, double seconds);
}
