namespace IotTcpGateway.Buffer;

/// <summary>Why a record was given up. The numbers are on disk: they never change.</summary>
internal enum DropReason
{
    /// <summary>The buffer was full.</summary>
    BufferFull = 1,

    /// <summary>The broker refused it for good, or no payload can be made of it.</summary>
    Refused = 2,

    /// <summary>It waited longer than maxAge.</summary>
    Expired = 3,

    /// <summary>It was lost by damage on disk.</summary>
    Damaged = 4,

    /// <summary>Somebody dropped it by "iotgw buffer drop".</summary>
    Operator = 5,
}

/// <summary>The words for reasons in metrics, payloads and tables.</summary>
internal static class DropReasons
{
    public static string Word(DropReason reason) => reason switch
    {
        DropReason.BufferFull => "buffer-full",
        DropReason.Refused => "refused",
        DropReason.Expired => "expired",
        DropReason.Damaged => "damaged",
        _ => "operator",
    };
}
