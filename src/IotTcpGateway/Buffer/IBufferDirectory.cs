using IotTcpGateway.Journal;

namespace IotTcpGateway.Buffer;

/// <summary>The buffer's directory; the seam between the buffer and the operating system.</summary>
internal interface IBufferDirectory
{
    /// <summary>Makes the directory if it is missing, and keeps every other process out of it.</summary>
    DiskError Prepare();

    /// <summary>The directory itself.</summary>
    IJournalDisk Root { get; }

    /// <summary>A directory below it, made if it is missing.</summary>
    DiskError Open(string name, out IJournalDisk disk);

    /// <summary>Whether there is one.</summary>
    bool Has(string name);
}
