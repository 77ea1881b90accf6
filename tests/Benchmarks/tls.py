#!/usr/bin/env python3
"""Measures what TLS costs the gateway on this machine: memory of idle connections and CPU of handshakes, beside plain TCP.

    tests/Benchmarks/tls.py [--binary PATH] [--devices N]
"""
import argparse, os, subprocess, sys, tempfile, time

from end_to_end import ROOT, Broker, Gateway, await_true, simulate

KEYS = {
    "ECDSA P-256": ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    "RSA 2048": ["-newkey", "rsa:2048"],
}


def certificate(folder, name, kind):
    """A certificate that vouches for itself, and its key."""
    pem, key = os.path.join(folder, f"{name}.pem"), os.path.join(folder, f"{name}.key")
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-days", "30", *KEYS[kind], "-keyout", key, "-out", pem,
                    "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
                   check=True, stderr=subprocess.DEVNULL)
    return pem, key


def measure(binary, folder, broker, devices, kind):
    settings, options = ["listeners.0.handshakeTimeout=60s"], []
    if kind:
        pem, key = certificate(folder, kind.split()[0], kind)
        settings += [f"listeners.0.tls.certificate={pem}", f"listeners.0.tls.key={key}",
                     "listeners.0.maxConnections=2000", "listeners.0.maxUnauthenticated=1000",
                     "listeners.0.tls.handshakesPerSecond=10000"]
        options = ["--tls-ca", pem]
    gateway = Gateway(binary, folder, broker, *settings)
    time.sleep(4)
    resident, cpu = gateway.resident(), gateway.cpu()
    load = simulate(binary, gateway, "--devices", str(devices), "--rate", "0.001", "--connect-rate", "100",
                    "--for", "150s", *options, wait=False)
    await_true(f"{devices} devices", lambda: gateway.status()["devices"]["online"] == devices, 140)
    cpu = gateway.cpu() - cpu
    time.sleep(20)  # the gateway gives back what the rush of handshakes took
    print(f"| {kind or 'plain TCP'} | {gateway.resident():.1f} MiB | {(gateway.resident() - resident) * 1024 / devices:.1f} KiB | "
          f"{cpu * 1000 / devices:.2f} ms |", flush=True)
    load.kill()
    load.wait()
    gateway.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(ROOT, "artifacts/publish/linux-x64/iotgw"))
    parser.add_argument("--devices", type=int, default=1000)
    arguments = parser.parse_args()
    if not os.path.exists(arguments.binary):
        sys.exit(f"{arguments.binary} is missing: ./publish.sh linux-x64")
    with tempfile.TemporaryDirectory() as folder:
        broker = Broker(folder)
        print(f"| {arguments.devices} devices, HMAC | resident | of each connection | CPU of each, connect to WELCOME |\n|---|---|---|---|")
        for kind in (None, *KEYS):
            measure(arguments.binary, folder, broker, arguments.devices, kind)
        broker.stop()


if __name__ == "__main__":
    main()
