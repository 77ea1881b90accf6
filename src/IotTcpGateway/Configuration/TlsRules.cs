using IotTcpGateway.Ingest;
using IotTcpGateway.Tls;

namespace IotTcpGateway.Configuration;

/// <summary>Rules of "listeners[].tls" that hold between keys, or between a key and a file.</summary>
internal static class TlsRules
{
    public static IEnumerable<ConfigurationFault> Check(List<ListenerOptions> listeners) =>
        listeners.SelectMany((listener, index) => Check(listener, $"listeners.{index}"));

    /// <summary>What works, and is probably not what the user wants; null for nothing.</summary>
    public static string? Warning(ListenerOptions listener)
    {
        if (listener.Tls is { ClientCa: not null } && !listener.Authentication.Contains("certificate"))
            return $"listener {listener.Name}: tls.clientCa is of no use without \"certificate\" in authentication";
        double wait = listener.Tls is { } tls ? listener.MaxUnauthenticated / (double)tls.HandshakesPerSecond : 0;
        return wait < listener.HandshakeTimeout.TotalSeconds
            ? null
            : $"listener {listener.Name}: {listener.MaxUnauthenticated} handshakes (maxUnauthenticated) take {wait:0.#} s at "
                + $"{listener.Tls!.HandshakesPerSecond} a second, longer than handshakeTimeout: when many devices come back at once, some wait in vain";
    }

    private static IEnumerable<ConfigurationFault> Check(ListenerOptions listener, string path)
    {
        if (listener.Authentication.Contains("certificate") && listener.Tls?.ClientCa is null)
        {
            yield return new ConfigurationFault(
                $"{path}.authentication", "\"certificate\" needs authorities that vouch for devices", "name them in tls.clientCa, or leave it out");
        }

        if (listener.Tls is not { } tls)
            yield break;
        if (tls.Certificate is null || tls.Key is null)
            yield return new ConfigurationFault($"{path}.tls", "a listener with TLS needs a certificate and its key", "set both tls.certificate and tls.key");
        else if (tls.Crl is not null && tls.ClientCa is null)
            yield return new ConfigurationFault($"{path}.tls.crl", "without authorities nothing is revoked", "name them in tls.clientCa, or leave it out");
        else if (WhyUnusable(tls) is { } e)
            yield return new ConfigurationFault($"{path}.tls.{e.Key}", $"{e.File}: {e.Why}", e.Remedy) { IsOfFile = true };
    }

    private static TlsFileException? WhyUnusable(ListenerTlsOptions tls)
    {
        try
        {
            TlsMaterial.Read(tls);
            return null;
        }
        catch (TlsFileException e)
        {
            return e;
        }
    }
}
