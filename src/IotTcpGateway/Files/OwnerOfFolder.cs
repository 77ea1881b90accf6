using System.ComponentModel;
using System.Runtime.InteropServices;

namespace IotTcpGateway.Files;

/// <summary>
/// Root gives up being root before it works in a folder of the service's user: that user could put links there, and have
/// root write, remove or give away what they point at.
/// </summary>
internal static unsafe partial class OwnerOfFolder
{
    /// <summary>From now on the process is the folder's owner, if it was root and the folder is somebody else's.</summary>
    /// <exception cref="IOException">It cannot be done.</exception>
    public static void Become(string folder)
    {
        // statx(2): stx_uid and stx_gid at bytes 20 and 24 of a 256-byte structure, on every architecture.
        byte* status = stackalloc byte[256];
        const int currentDirectory = -100;
        const uint basicStats = 0x7FF;
        if (EffectiveUser() != 0 || Status(currentDirectory, folder, 0, basicStats, status) != 0)
            return;
        uint user = *(uint*)(status + 20);
        uint group = *(uint*)(status + 24);
        if (user == 0)
            return;
        // All threads change together: that is what glibc and musl do.
        if (SetGroups(0, null) != 0 || SetGroup(group, group, group) != 0 || SetUser(user, user, user) != 0)
            throw new IOException($"cannot work as the owner of {folder}: {new Win32Exception(Marshal.GetLastPInvokeError()).Message}");
    }

    [LibraryImport("libc", EntryPoint = "geteuid")]
    private static partial uint EffectiveUser();

    [LibraryImport("libc", EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Status(int directory, string path, int flags, uint mask, byte* status);

    [LibraryImport("libc", EntryPoint = "setgroups", SetLastError = true)]
    private static partial int SetGroups(nuint count, uint* groups);

    [LibraryImport("libc", EntryPoint = "setresgid", SetLastError = true)]
    private static partial int SetGroup(uint real, uint effective, uint saved);

    [LibraryImport("libc", EntryPoint = "setresuid", SetLastError = true)]
    private static partial int SetUser(uint real, uint effective, uint saved);
}
