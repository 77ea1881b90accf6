namespace IotTcpGateway.Forward;

/// <summary>Ids of the log events of forwarding: 1400 to 1499, never reused.</summary>
internal static class ForwardEvents
{
    public const int MessageRefused = 1401;
    public const int NoCommands = 1402;
    public const int Connected = 1410;
    public const int Unreachable = 1411;
    public const int Lost = 1412;
    public const int Unwelcome = 1413;
    public const int PoisonGivenUp = 1414;
    public const int DoesNotHold = 1415;
    public const int HoldsAgain = 1416;
    public const int StateGivenUp = 1417;
    public const int SubscriptionGivenUp = 1418;
}
