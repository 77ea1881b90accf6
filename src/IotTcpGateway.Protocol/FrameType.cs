namespace IotTcpGateway.Protocol;

/// <summary>The types of frame.</summary>
public enum FrameType : byte
{
    /// <summary>Device → gateway: who it is and how it wants to authenticate.</summary>
    Hello = 0x01,

    /// <summary>Gateway → device: the nonce to prove the key with.</summary>
    Challenge = 0x02,

    /// <summary>Device → gateway: the proof.</summary>
    Auth = 0x03,

    /// <summary>Gateway → device: the session begins.</summary>
    Welcome = 0x04,

    /// <summary>Gateway → device: no session; the connection is closed.</summary>
    Refuse = 0x05,

    /// <summary>Device → gateway: names of channels.</summary>
    Describe = 0x06,

    /// <summary>Device → gateway: telemetry.</summary>
    Data = 0x07,

    /// <summary>Gateway → device: everything up to a sequence is safe.</summary>
    Ack = 0x08,

    /// <summary>Gateway → device: one DATA frame will never be forwarded.</summary>
    Nack = 0x09,

    /// <summary>Both ways: are you there?</summary>
    Ping = 0x0A,

    /// <summary>Both ways: the answer to PING.</summary>
    Pong = 0x0B,

    /// <summary>Gateway → device: do something.</summary>
    Command = 0x0C,

    /// <summary>Device → gateway: what came of a COMMAND.</summary>
    Result = 0x0D,

    /// <summary>Both ways: the connection ends.</summary>
    Bye = 0x0E,
}
