"""SIGKILL of the gateway under load, with the broker there, away, and coming and going."""
from bench import wait_for
from outage import DiskTest


class Kills(DiskTest):
    """The scenarios; how often is with those who inherit."""

    def killed_with_broker_up(self, kills):
        # A busy machine may hold up a broker for a moment: that is no outage here.
        self.start(spillAfter="10s")
        self.start_fleet()
        for _ in range(kills):
            before = self.bytes_on_disk()
            self.faults.forget()
            self.faults.set("trace")
            self.fleet.wait_progress(self.dice.randint(1, 1500), "the gateway to go on after a kill")
            self.assertEqual(self.metric("iotgw_buffer_bytes", where="disk"), 0)
            self.assertEqual(self.bytes_on_disk(), before)
            self.kill_gateway()
            self.assertEqual([call for call in self.faults.calls() if call.name == "pwrite"], [])
            self.faults.clear()
            self.running.start()
        self.fleet.wait_progress(200)
        self.say(f"{kills} kills with the broker up, nothing written before any of them")
        self.finish()

    def killed_with_broker_down(self, kills):
        self.start()
        self.start_fleet()
        self.fleet.wait_progress(200)
        self.broker.stop()
        for _ in range(kills):
            self.fleet.wait_progress(self.dice.randint(1, 1500), "the disk to take frames after a kill")
            self.kill_gateway()
            self.running.start()
        self.fleet.wait_progress(200)
        on_disk = self.running.status()["buffer"]["disk"]["records"]
        self.broker.start()
        self.say(f"{kills} kills with the broker down, {on_disk} records on disk at its return")
        self.finish()
        self.assert_drained()

    def killed_with_broker_flapping(self, kills):
        self.start()
        self.start_fleet()
        self.fleet.wait_progress(200)
        is_up, flaps, done = True, 0, 0
        while done < kills:
            if self.dice.random() < 0.5:
                self.broker.stop() if is_up else self.broker.start()
                is_up, flaps = not is_up, flaps + 1
            self.fleet.wait_progress(self.dice.randint(1, 600), "the gateway to go on")
            if self.dice.random() < 0.6:
                self.kill_gateway()
                self.running.start()
                done += 1
        if not is_up:
            self.broker.start()
        wait_for(lambda: self.running.status()["broker"]["isConnected"], "the gateway to find its broker")
        self.fleet.wait_progress(200)
        self.say(f"{kills} kills with {flaps} ends and returns of the broker between them")
        self.finish()
        self.assert_drained()
