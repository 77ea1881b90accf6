using System.Text;

using IotTcpGateway.Protocol;

namespace IotTcpGateway.Buffer;

/// <summary>Which boot of the host this is: monotonic times can be compared within one.</summary>
internal static class HostBoot
{
    private const string KernelFile = "/proc/sys/kernel/random/boot_id";

    /// <summary>The same for every process of a boot; never 0. proc_sys_kernel(5).</summary>
    public static uint Id()
    {
        try
        {
            uint hash = Crc32C.Compute(Encoding.ASCII.GetBytes(File.ReadAllText(KernelFile).Trim()));
            return hash == 0 ? 1 : hash;
        }
        catch (IOException)
        {
            // Without it every start counts as a boot of its own, so that no two clocks are taken for one.
            return (uint)Random.Shared.Next(1, int.MaxValue);
        }
    }
}
