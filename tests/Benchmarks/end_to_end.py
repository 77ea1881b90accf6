#!/usr/bin/env python3
"""Measures the whole gateway on this machine and prints a table: size, start, memory, rates, latency, a flood beside quiet
devices. Load (iotgw simulate), gateway, broker (mosquitto) and consumer (mosquitto_sub) share its cores.

    tests/Benchmarks/end_to_end.py [--binary PATH] [--quick]
"""
import argparse, atexit, json, os, platform, re, resource, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


started = []


@atexit.register
def end_all():
    """Whatever ends the measurement, nothing of it stays behind."""
    for process in started:
        if process.poll() is None:
            process.kill()


def run(*arguments, **options):
    started.append(subprocess.Popen(*arguments, **options))
    return started[-1]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_true(what, condition, limit=60):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited {limit} s in vain for {what}")
        time.sleep(0.005)


def can_connect(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Broker:
    """A mosquitto that drops nothing, with a consumer that counts."""

    def __init__(self, folder, port=None):
        self.port = port or free_port()
        self.out = os.path.join(folder, f"consumed-{self.port}")
        path = os.path.join(folder, f"mosquitto-{self.port}.conf")
        with open(path, "w") as config:
            config.write(f"listener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n"
                         "max_inflight_messages 1000\nset_tcp_nodelay true\n")
        server = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        self.server = run([server, "-c", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        await_true("mosquitto", lambda: can_connect(self.port))
        # -F %l: only the length of each payload, so that the consumer costs little.
        self.consumer = run(["mosquitto_sub", "-p", str(self.port), "-q", "1", "-t", "telemetry/bench/+", "-F", "%l"],
                                         stdout=open(self.out, "w"))
        time.sleep(0.3)

    def consumed(self):
        with open(self.out) as out:
            return sum(1 for _ in out)

    def stop(self):
        for process in (self.consumer, self.server):
            process.terminate()
            process.wait()


class Gateway:
    def __init__(self, binary, folder, broker, *settings):
        self.port, self.http = free_port(), free_port()
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        path = os.path.join(folder, f"notify-{self.port}")
        notify.bind(path)
        notify.settimeout(20)
        self.keys = os.path.join(folder, "devices.json")
        since = time.monotonic()
        self.process = run(
            [binary, "run", "--socket", os.path.join(folder, f"control-{self.port}"),
             "--set", "gateway.id=bench", "--set", "gateway.trustClock=true", "--set", f"devices.file={self.keys}",
             "--set", f"mqtt.brokers=mqtt://127.0.0.1:{broker.port}", "--set", f"http.endpoint=127.0.0.1:{self.http}",
             "--set", f"listeners.0.endpoint=127.0.0.1:{self.port}", "--set", "listeners.0.maxConnections=20000",
             "--set", "listeners.0.maxConnectionsPerAddress=20000", "--set", "listeners.0.maxUnauthenticated=2000",
             "--set", "listeners.0.framesPerSecond=1000000", "--set", "log.level=warning",
             "--set", f"buffer.directory={os.path.join(folder, f'buffer-{self.port}')}",
             *[part for setting in settings for part in ("--set", setting)]],
            env={**os.environ, "NOTIFY_SOCKET": path}, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while b"READY=1" not in notify.recv(4096):
            pass
        self.ready_milliseconds = (time.monotonic() - since) * 1000
        notify.close()

    def status(self):
        with socket.create_connection(("127.0.0.1", self.http), 5) as http:
            http.sendall(b"GET /status HTTP/1.0\r\n\r\n")
            answer = b""
            while block := http.recv(65536):
                answer += block
        return json.loads(answer.split(b"\r\n\r\n", 1)[1])

    def resident(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024

    def cpu(self):
        with open(f"/proc/{self.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def simulate(binary, gateway, *options, wait=True):
    process = run([binary, "simulate", "--to", f"127.0.0.1:{gateway.port}", "--keys", gateway.keys, "--make-keys",
                                "--json", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return finish(process) if wait else process


def finish(process):
    out, err = process.communicate()
    if process.returncode != 0:
        sys.exit(f"simulate failed: {err.strip()} {out.strip()}")
    return json.loads(out)


def measure(binary, folder, quick):
    rows = []

    def row(name, value, goal=""):
        rows.append((name, value, goal))
        print(f"{name}: {value}", file=sys.stderr, flush=True)

    row("executable", f"{os.path.getsize(binary) / 1048576:.1f} MiB", "≤ 16 MiB")
    seconds = 5 if quick else 10
    repeats = 1 if quick else 3

    broker = Broker(folder)
    starts = []
    for _ in range(5):
        gateway = Gateway(binary, folder, broker)
        starts.append(gateway.ready_milliseconds)
        gateway.stop()
    row("start to READY", f"{statistics.median(starts):.0f} ms", "≤ 100 ms")

    gateway = Gateway(binary, folder, broker)
    time.sleep(4)
    gateway.status()
    row("resident, idle with HTTP", f"{gateway.resident():.1f} MiB", "≤ 22 MiB")
    for devices, goal in ((1000, 32), (10000, 80)) if not quick else ((1000, 32),):
        load = simulate(binary, gateway, "--devices", str(devices), "--rate", "0.001", "--connect-rate", "500",
                        "--for", f"{devices // 500 + 45}s", wait=False)
        await_true(f"{devices} devices", lambda: gateway.status()["devices"]["online"] == devices, 120)
        time.sleep(20)  # the gateway gives back what the rush of handshakes took
        row(f"resident, {devices} devices connected (HMAC)", f"{gateway.resident():.1f} MiB", f"≤ {goal} MiB")
        load.terminate()
        load.wait()
    gateway.stop()

    for name, settings, goal in (("one message a frame", (), "≥ 30000/s"),
                                 ("batches of 100", ("mqtt.batch.messages=100", "mqtt.batch.linger=5ms"), "≥ 200000/s")):
        rates, costs, peak = [], [], 0
        for _ in range(repeats):
            gateway = Gateway(binary, folder, broker, "buffer.memory=8 MiB", *settings)
            before = broker.consumed()
            cpu = gateway.cpu()
            result = simulate(binary, gateway, "--devices", "100", "--rate", "0", "--for", f"{seconds}s", "--connect-rate", "1000")
            costs.append((gateway.cpu() - cpu) / result["sent"] * 1e6)
            if not settings:
                await_true("every frame at the consumer", lambda: broker.consumed() - before >= result["sent"], 120)
            rates.append(result["acknowledged"] / result["seconds"])
            peak = max(peak, gateway.resident())
            gateway.stop()
        row(f"end to end, safe at QoS 1, {name}, 100 devices", f"{statistics.median(rates):.0f} frames/s", goal)
        row(f"CPU of the gateway then, {name}", f"{statistics.median(costs):.1f} µs/frame")
        row(f"resident after it, {name}", f"{peak:.1f} MiB")

    gateway = Gateway(binary, folder, broker)
    simulate(binary, gateway, "--devices", "100", "--rate", "10", "--for", "2s", "--connect-rate", "1000")
    cpu = gateway.cpu()
    result = simulate(binary, gateway, "--devices", "100", "--rate", "10", "--for", f"{seconds}s", "--connect-rate", "1000")
    row("latency at 1 000 frames/s, p50 / p99", f"{result['p50Milliseconds']:.2f} / {result['p99Milliseconds']:.2f} ms", "p99 ≤ 5 ms")
    row("CPU of the gateway at 1 000 frames/s", f"{(gateway.cpu() - cpu) / result['sent'] * 1e6:.0f} µs/frame", "< 48 µs")
    gateway.stop()

    # An outage: acknowledged from disk, then everything to a broker that is back.
    for name, settings, goal in (("one message a frame", (), ""),
                                 ("batches of 100", ("mqtt.batch.messages=100", "mqtt.batch.linger=5ms"), "≥ 50000/s")):
        taken, replayed, peak = [], [], 0
        for _ in range(repeats):
            away = Broker(folder)
            gateway = Gateway(binary, folder, away, "buffer.spillAfter=100ms", *settings)
            simulate(binary, gateway, "--devices", "100", "--rate", "10", "--for", "1s", "--connect-rate", "1000")
            away.stop()
            time.sleep(1)
            result = simulate(binary, gateway, "--devices", "100", "--rate", "0", "--for", f"{seconds}s", "--connect-rate", "1000")
            taken.append(result["acknowledged"] / result["seconds"])
            waiting = gateway.status()["buffer"]["records"]
            back = Broker(folder, away.port)
            await_true("the broker to be found", lambda: gateway.status()["broker"]["isConnected"], 60)
            since, begun = time.monotonic(), gateway.status()["buffer"]["records"]
            await_true("the backlog's end", lambda: gateway.status()["buffer"]["records"] == 0, 300)
            replayed.append(begun / (time.monotonic() - since))
            peak = max(peak, gateway.resident())
            gateway.stop()
            back.stop()
        row(f"acknowledged from disk in an outage, {waiting} frames", f"{statistics.median(taken):.0f} frames/s")
        row(f"replay from disk, {name}", f"{statistics.median(replayed):.0f} frames/s", goal)
        row(f"resident after it, {name}", f"{peak:.1f} MiB")

    # One device floods as fast as it may; fifty quiet ones go on. The listener's own limit slows the flood.
    gateway = Gateway(binary, folder, broker, "listeners.0.framesPerSecond=200")
    quiet = ("--devices", "50", "--rate", "5", "--prefix", "quiet-", "--connect-rate", "1000", "--for", f"{seconds}s")
    simulate(binary, gateway, *quiet)
    ratios = []
    for _ in range(repeats):
        undisturbed = simulate(binary, gateway, *quiet)
        flood = simulate(binary, gateway, "--devices", "1", "--rate", "0", "--prefix", "flood-", "--for", f"{seconds + 4}s", wait=False)
        time.sleep(2)
        disturbed = simulate(binary, gateway, *quiet)
        finish(flood)
        ratios.append(disturbed["p99Milliseconds"] / undisturbed["p99Milliseconds"])
    row("p99 of 50 quiet devices beside a flood : undisturbed", f"{statistics.median(ratios):.1f}", "≤ 5")
    gateway.stop()
    broker.stop()
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=os.path.join(ROOT, "artifacts/publish/linux-x64/iotgw"))
    parser.add_argument("--quick", action="store_true", help="one repetition, shorter, without the 10 000 devices")
    arguments = parser.parse_args()
    if not os.access(arguments.binary, os.X_OK):
        sys.exit(f"there is no {arguments.binary}: run ./publish.sh linux-x64 first")
    if not shutil.which("mosquitto_sub"):
        sys.exit("mosquitto and mosquitto-clients are needed: apt-get install mosquitto mosquitto-clients")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))
    with tempfile.TemporaryDirectory(prefix="iotgw-bench-") as folder:
        rows = measure(arguments.binary, folder, arguments.quick)
    with open("/proc/cpuinfo") as cpuinfo:
        model = next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), platform.machine())
    print(f"\nMachine: {model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}\n")
    print("| figure | measured | goal |\n|---|---|---|")
    for name, value, goal in rows:
        print(f"| {name} | {value} | {goal} |")


if __name__ == "__main__":
    main()
