"""SIGTERM and SIGHUP while devices send: an orderly end, and a reload that says what it did."""
import os
import signal
import subprocess
import unittest

from bench import IOTGW, BlackBox, clean_environment, end_with_us, iotgw, wait_for
from broker import Broker, Subscriber
from device import BYE, CHALLENGE, HELLO, PING, PONG, REFUSE, Failure, hello_of
from fleet import Fleet, Link

LISTENER = {"name": "field", "endpoint": "127.0.0.1:0", "authentication": ["hmac", "none"], "framesPerSecond": 10000,
            "maxConnectionsPerAddress": 500}
SHUTTING_DOWN_BYE, SHUTTING_DOWN_REFUSE, TOO_MANY = 1, 7, 5
SIMULATED = 20


class Stop(BlackBox):
    def setUp(self):
        super().setUp()
        self.broker = Broker(self.folder).start()
        self.addCleanup(self.broker.end)
        self.running = self.gateway({"listeners": [LISTENER], "mqtt": {"brokers": [self.broker.url]}})

    def start_fleet(self, **more):
        key = iotgw("device", "add", "ledger-1", "--config", self.running.file).stdout.strip()
        self.running.start()
        fleet = Fleet(self.running.address(), keys={"ledger-1": bytes.fromhex(key)}, **more)
        self.addCleanup(fleet.end)
        return fleet

    def simulate(self):
        """The product's own fleet beside ours."""
        process = subprocess.Popen(
            [IOTGW, "simulate", "--to", "{}:{}".format(*self.running.address()), "--devices", str(SIMULATED),
             "--rate", "50", "--connect-rate", "1000", "--json"], env=clean_environment(), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, preexec_fn=end_with_us)
        self.addCleanup(lambda: (process.kill(), process.wait()))
        wait_for(lambda: self.running.status()["devices"]["online"] >= SIMULATED, "the simulated devices to be online")

    def subscribe(self, *filters):
        subscriber = Subscriber(self.broker.port, *filters)
        self.addCleanup(subscriber.end)
        return subscriber

    def in_handshake(self):
        """A connection that has got its CHALLENGE and does not answer."""
        link = Link(self.running.address())
        self.addCleanup(link.socket.close)
        link.send(HELLO, 0, hello_of(1, 0, 1, 0, os.urandom(16), "late", ""))
        link.expect(CHALLENGE)
        return link

    def test_sigterm_under_load(self):
        watching = self.subscribe("telemetry/#")
        fleet = self.start_fleet()
        self.simulate()
        fleet.wait_progress(500)
        late = self.in_handshake()
        self.assertEqual(watching.last("telemetry/box/status")["state"], "online")
        self.assertEqual(watching.last("telemetry/box/ledger-1/status")["state"], "online")

        self.assert_stops(self.running)

        wait_for(lambda: all(device.byes for device in fleet.devices), "every device to read its BYE")
        fleet.end()
        self.assertEqual([device.byes for device in fleet.devices], [[SHUTTING_DOWN_BYE]] * len(fleet.devices))
        self.assertEqual(late.wait(REFUSE)[0], SHUTTING_DOWN_REFUSE)
        ledger = fleet.ledger()
        wait_for(lambda: not ledger - watching.counts.keys(), "what was acknowledged to come to the subscriber", 20)
        # What is kept for those who come later.
        names = [device.id for device in fleet.devices] + [f"sim-{number}" for number in range(1, SIMULATED + 1)]
        topics = ["telemetry/box/status"] + [f"telemetry/box/{name}/status" for name in names]
        later = self.subscribe("telemetry/#")
        wait_for(lambda: all(later.retained(topic) for topic in topics), "the retained statuses")
        self.assertEqual([topic for topic in topics if later.retained(topic)["state"] != "offline"], [])

    def test_sigterm_while_the_broker_is_away(self):
        fleet = self.start_fleet()
        fleet.wait_progress(100)
        self.broker.kill()
        wait_for(lambda: self.running.status()["buffer"]["records"] > 0, "frames to wait for the broker")
        self.assert_stops(self.running)
        wait_for(lambda: all(device.byes for device in fleet.devices), "every device to read its BYE")

    def test_sigterm_while_the_broker_does_not_answer(self):
        fleet = self.start_fleet()
        fleet.wait_progress(100)
        self.broker.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: self.running.status()["buffer"]["records"] > 0, "frames to wait for the broker")
        self.assert_stops(self.running)
        self.broker.process.send_signal(signal.SIGCONT)

    def test_sigint_is_the_same(self):
        self.start_fleet().wait_progress(100)
        self.assert_stops(self.running, signal.SIGINT)

    def test_killed_gateway_is_offline_by_its_will(self):
        self.start_fleet().wait_progress(100)
        watching = self.subscribe("telemetry/box/status")
        wait_for(lambda: watching.last("telemetry/box/status"), "the gateway's status")
        self.running.kill()
        wait_for(lambda: watching.last("telemetry/box/status")["state"] == "offline", "the will")

    def test_control_socket_is_gone_after_the_end(self):
        self.running.start()
        self.assert_stops(self.running)
        self.assertFalse(self.running.socket.exists())

    def test_second_gateway_does_not_take_the_control_socket(self):
        self.running.start()
        other_folder = self.folder / "other"
        other_folder.mkdir()
        other = self.gateway({"gateway": {"id": "other"}}, folder=other_folder)
        other.socket = self.running.socket
        other.start_unchecked()
        other.wait_log("another gateway answers on it")
        self.assert_stops(other)
        self.assertEqual(self.running.status()["gateway"], "box")


class Reload(BlackBox):
    def start(self, configuration):
        self.running = self.gateway(configuration).start()
        self.address = self.running.address()

    def reload(self, configuration):
        """Changes the file and tells the gateway."""
        self.running.configure(self.running.configuration | configuration)
        self.running.signal(signal.SIGHUP)

    def enter(self, name):
        link = Link(self.address)
        self.addCleanup(link.socket.close)
        link.enter(name, None, False, 1, 0)
        return link

    def test_limits_of_a_listener_change_and_sessions_go_on(self):
        self.start({"listeners": [LISTENER | {"maxConnections": 1}]})
        first = self.enter("first")
        with self.assertRaisesRegex(Failure, f"reason {TOO_MANY}"):
            self.enter("second")
        self.reload({"listeners": [LISTENER | {"maxConnections": 2}]})
        self.running.wait_log("reloaded: listeners.0.maxConnections")
        self.enter("second")
        first.send(PING, 9)
        self.assertEqual(first.wait(PONG, 9), b"")
        self.assertNotIn("restart the service", self.running.log())

    def test_networks_change(self):
        self.start({"listeners": [LISTENER]})
        self.enter("first")
        self.reload({"listeners": [LISTENER | {"allowFrom": ["192.0.2.0/24"]}]})
        self.running.wait_log("reloaded: listeners.0.allowFrom")
        with self.assertRaisesRegex(Failure, "reason 4"):
            self.enter("second")

    def test_log_level_changes(self):
        self.start({"log": {"level": "warning"}})
        self.assertNotIn("listens on", self.running.log())
        self.reload({"log": {"level": "information"}})
        self.running.wait_log("reloaded: log.level is changed")
        self.reload({"log": {"level": "error"}})
        self.reload({"log": {"level": "error"}, "mqtt": {"qos": 9}})
        self.running.wait_log("the configuration is not reloaded")
        self.assertEqual(self.running.log().count("device keys read"), 1)

    def test_changed_port_needs_a_restart_and_is_named_every_time(self):
        self.start({"listeners": [LISTENER]})
        changed = {"listeners": [LISTENER | {"endpoint": "127.0.0.1:1", "idleTimeout": "30s"}]}
        self.reload(changed)
        self.running.wait_log("listeners.0.endpoint is changed in the configuration: restart the service")
        self.running.wait_log("reloaded: listeners.0.idleTimeout")
        self.assertEqual(self.running.address(), self.address)
        self.enter("still")
        self.reload(changed)
        self.running.wait_log("listeners.0.endpoint is changed in the configuration: restart the service", 2)

    def test_other_sections_need_a_restart(self):
        self.start({"listeners": [LISTENER]})
        self.reload({"mqtt": {"brokers": ["mqtt://127.0.0.1:1"]}, "buffer": {"memory": "16 MiB"},
                     "http": {"endpoint": "127.0.0.1:0"}})
        for path in ("mqtt.brokers", "buffer.memory", "http"):
            self.running.wait_log(f"{path} is changed in the configuration: restart the service")

    def test_added_listener_needs_a_restart(self):
        self.start({"listeners": [LISTENER]})
        self.reload({"listeners": [LISTENER, LISTENER | {"name": "second"}]})
        self.running.wait_log("listeners is changed in the configuration: restart the service")
        self.enter("still")

    def test_bad_configuration_leaves_the_old_one_in_force(self):
        self.start({"listeners": [LISTENER]})
        self.running.file.write_text('{"listeners": [')
        self.running.signal(signal.SIGHUP)
        self.running.wait_log("the configuration is not reloaded, the old one stays in force")
        self.assertIn("gateway.json:1:", self.running.log())
        self.enter("still")

    def test_many_reloads_leak_nothing(self):
        self.start({"listeners": [LISTENER]})
        for number in range(30):
            self.running.signal(signal.SIGHUP)
            self.running.wait_log("device keys read", number + 2)
        before = self.running.descriptors()
        for number in range(30, 60):
            self.running.signal(signal.SIGHUP)
            self.running.wait_log("device keys read", number + 2)
        self.assertLessEqual(self.running.descriptors(), before)
        self.assert_stops(self.running)


if __name__ == "__main__":
    unittest.main()
