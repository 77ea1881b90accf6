"""Configurations: the bad ones are told apart in one line each, the good ones are merged in the right order."""
import json
import os
import socket
import unittest

from bench import BlackBox, iotgw

LISTENER = {"name": "field", "endpoint": "127.0.0.1:0"}


def listener(**changed):
    return {"listeners": [LISTENER | changed]}


def mqtt(**changed):
    return {"mqtt": changed}


# What is in the file (text, or an object), and what the one line must have: the path, the fault or the remedy.
BAD = {
    "unknown_key": (mqtt(usernme="x"), ["mqtt.usernme", 'did you mean "username"']),
    "unknown_key_in_a_list": (listener(endpont="x"), ["listeners.0.endpont", 'did you mean "endpoint"']),
    "unknown_section": ({"mqqt": {}}, ["mqqt", 'did you mean "mqtt"']),
    "unknown_key_like_none": ({"zzzzzzzz": 1}, ["zzzzzzzz", "gateway, listeners"]),
    "key_with_a_line_feed": ('{"mqtt":{"user\\nname":"x"}}', ["mqtt.user name", 'did you mean "username"']),
    "bad_duration": (mqtt(keepAlive="5 parsecs"), ["mqtt.keepAlive", '"5 parsecs"', '"5s"']),
    "duration_is_a_number": (mqtt(keepAlive=5), ["mqtt.keepAlive", '"5s"']),
    "duration_out_of_range": (mqtt(connectTimeout="1h"), ["mqtt.connectTimeout", "15s"]),
    "bad_size": ({"buffer": {"memory": "8 MB"}}, ["buffer.memory", '"8 MB"', '"8 MiB"']),
    "size_out_of_range": (listener(maxBody="1 MiB"), ["listeners.0.maxBody", "16 KiB"]),
    "memory_beyond_the_machine": ({"buffer": {"memory": "16 GiB"}, "devices": {"maxTableMemory": "1 GiB"}},
                                  ["buffer.memory", "lower"]),
    "bad_cidr": (listener(allowFrom=["192.168.0.0/99"]), ["listeners.0.allowFrom.0", "192.168.0.0/16"]),
    "cidr_is_an_address_range": (listener(allowFrom=["10.0.0.1-10.0.0.9"]), ["listeners.0.allowFrom.0", "/16"]),
    "endpoint_without_port": (listener(endpoint="0.0.0.0"), ["listeners.0.endpoint", "0.0.0.0:7183"]),
    "endpoint_is_a_name": (listener(endpoint="localhost:7183"), ["listeners.0.endpoint", "IP address"]),
    "endpoint_port_out_of_range": (listener(endpoint="0.0.0.0:70000"), ["listeners.0.endpoint", "0.0.0.0:7183"]),
    "topic_without_device": (mqtt(topic="telemetry/{gateway}"), ["mqtt.topic", "{device}"]),
    "topic_with_a_wildcard": (mqtt(topic="telemetry/{device}/#"), ["mqtt.topic", "{device}"]),
    "topic_with_channel_in_the_middle": (mqtt(topic="{channel}/{device}"), ["mqtt.topic", "last level"]),
    "topic_with_an_unknown_placeholder": (mqtt(topic="{site}/{device}"), ["mqtt.topic", "{gateway}"]),
    "qos_0_with_ack_safe": (mqtt(qos=0), ["mqtt.qos", 'buffer.ack "memory"']),
    "qos_2": (mqtt(qos=2), ["mqtt.qos", "0 to 1"]),
    "raw_with_batch": (mqtt(payload="raw", batch={"messages": 10}), ["mqtt.batch.messages", 'payload "json"']),
    "raw_with_channel": (mqtt(payload="raw", topic="{device}/{channel}"), ["mqtt.topic", "{channel}"]),
    "password_without_user": (mqtt(passwordFile="gateway.json"), ["mqtt.username", "set mqtt.username"]),
    "file_missing": (mqtt(username="u", passwordFile="none.txt"), ["mqtt.passwordFile", "none.txt", "does not exist"]),
    "certificate_without_key": (mqtt(tls={"certificate": "gateway.json"}), ["mqtt.tls", "set both"]),
    "key_without_certificate": (mqtt(tls={"key": "gateway.json"}), ["mqtt.tls", "set both"]),
    "ca_missing": (mqtt(tls={"ca": "no/ca.pem"}), ["mqtt.tls.ca", "no/ca.pem", "directory does not exist"]),
    "syntax": ('{\n  "mqtt": { "username": }\n}', ["gateway.json:2:25", "not JSON"]),
    "syntax_cut_off": ('{ "mqtt": {', ["gateway.json:1:", "not JSON"]),
    "syntax_two_values": ("{} {}", ["gateway.json:1:4", "not JSON"]),
    "empty_file": ("", ["gateway.json:1:1", "empty"]),
    "not_an_object": ("[]", ["gateway.json", "{ and }"]),
    "not_text": (b"\xff\xfe\x00\x01", ["gateway.json:1:", "not JSON"]),
    "duplicate_key": ('{\n  "mqtt": { "qos": 1,\n  "qos": 1 } }', ["gateway.json:3:3", '"qos"', "twice"]),
    "duplicate_listener_name": ({"listeners": [LISTENER, LISTENER]}, ["listeners.1.name", '"field"']),
    "same_endpoint_twice": ({"listeners": [LISTENER | {"endpoint": "127.0.0.1:7183"},
                                           {"name": "other", "endpoint": "127.0.0.1:7183"}]},
                            ["listeners.1.endpoint", "127.0.0.1:7183"]),
    "no_listener": ({"listeners": []}, ["listeners", "7183"]),
    "listeners_is_an_object": ({"listeners": LISTENER}, ["listeners", "a list"]),
    "no_authentication": (listener(authentication=[]), ["listeners.0.authentication", '"hmac"']),
    "unknown_authentication": (listener(authentication=["password"]), ["listeners.0.authentication.0", '"hmac"']),
    "unknown_protocol": (listener(protocol="http"), ["listeners.0.protocol", '"itgp"']),
    "number_is_text": (listener(maxConnections="5"), ["listeners.0.maxConnections", "whole number"]),
    "number_is_a_fraction": (listener(maxConnections=1.5), ["listeners.0.maxConnections", "whole number"]),
    "number_out_of_range": (listener(maxConnections=0), ["listeners.0.maxConnections", "from 1 to"]),
    "flag_is_text": ({"gateway": {"trustClock": "yes"}}, ["gateway.trustClock", "true or false"]),
    "section_is_null": ({"mqtt": None}, ["mqtt", "an object"]),
    "section_is_text": ({"mqtt": "mqtt://broker"}, ["mqtt", "an object"]),
    "http_off_loopback": ({"http": {"endpoint": "0.0.0.0:9183"}}, ["http.endpoint", "loopback"]),
    "gateway_id_with_a_slash": ({"gateway": {"id": "a/b"}}, ["gateway.id", "A-Z a-z 0-9"]),
    "gateway_id_reserved": ({"gateway": {"id": "status"}}, ["gateway.id", '"status"']),
    "gateway_id_too_long": ({"gateway": {"id": "x" * 65}}, ["gateway.id", "1 to 64"]),
    "broker_without_scheme": (mqtt(brokers=["broker:1883"]), ["mqtt.brokers.0", "mqtt://"]),
    "broker_of_another_scheme": (mqtt(brokers=["https://broker"]), ["mqtt.brokers.0", "mqtts://"]),
    "broker_without_host": (mqtt(brokers=["mqtt://:1883"]), ["mqtt.brokers.0", "mqtt://host"]),
    "brokers_is_text": (mqtt(brokers="mqtt://broker"), ["mqtt.brokers", "a list"]),
    "unknown_mqtt_version": (mqtt(version=4), ["mqtt.version", '"3.1.1"']),
    "unknown_when_full": ({"buffer": {"whenFull": "drop"}}, ["buffer.whenFull", '"drop-oldest"']),
    "unknown_log_level": ({"log": {"level": "loud"}}, ["log.level", '"debug"']),
}

# Arguments and environment with a file that is right.
BAD_FROM_OUTSIDE = {
    "set_without_equals": (["--set", "mqtt.username"], {}, ["--set mqtt.username", "--set mqtt.username=NAME"]),
    "set_without_key": (["--set", "=x"], {}, ["--set"]),
    "set_unknown": (["--set", "mqtt.brkers.0=x"], {}, ["--set mqtt.brkers.0", 'did you mean "brokers"']),
    "set_beyond_a_value": (["--set", "mqtt.username.x=y"], {}, ["--set mqtt.username.x", "leads nowhere"]),
    "set_index_is_a_word": (["--set", "mqtt.brokers.first=mqtt://b"], {}, ["--set mqtt.brokers.first", "a list"]),
    "set_bad_value": (["--set", "mqtt.qos=high"], {}, ["mqtt.qos", "whole number"]),
    "environment_unknown": ([], {"IOTGW__MQTT__USERNAM": "x"}, ["IOTGW__MQTT__USERNAM", 'did you mean "username"']),
    "environment_unknown_section": ([], {"IOTGW__MQTTT__QOS": "1"}, ["IOTGW__MQTTT__QOS", 'did you mean "mqtt"']),
    "environment_bad_value": ([], {"IOTGW__BUFFER__MEMORY": "much"}, ["buffer.memory", '"8 MiB"']),
}


class BadConfigurations(BlackBox):
    def assert_fault(self, arguments, environment, expected):
        """Of "check" one line and exit code 1, of "run" the same line and 78."""
        check = iotgw("check", *arguments, environment=environment)
        run = iotgw("run", "--socket", self.folder / "control.sock", *arguments, environment=environment)
        self.assertEqual((check.returncode, run.returncode), (1, 78), (check, run))
        for done, head in ((check, "fault: "), (run, "iotgw: ")):
            self.assertEqual(done.stdout, "")
            self.assert_one_line(done.stderr)
            self.assertTrue(done.stderr.startswith(head), done.stderr)
            for part in expected:
                self.assertIn(part, done.stderr)

    def test_file_missing(self):
        self.assert_fault(["--config", str(self.folder / "none.json")], {}, ["none.json", "no such file", "--config"])

    def test_file_is_a_folder(self):
        self.assert_fault(["--config", str(self.folder)], {}, [str(self.folder), "--config"])

    def test_file_unreadable(self):
        file = self.write("gateway.json", "{}")
        file.chmod(0)
        # Root reads everything, unless the right to is taken away.
        prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
        for verb, code in (("check", 1), ("run", 78)):
            done = iotgw(verb, "--config", file, prefix=prefix)
            self.assertEqual(done.returncode, code, done)
            self.assert_one_line(done.stderr)
            self.assertIn(str(file), done.stderr)
            self.assertIn("let the gateway's user read it", done.stderr)

    def test_fault_in_a_file_of_conf_d(self):
        self.write("gateway.json", "{}")
        self.write("conf.d/20-bad.json", '{"mqtt": {"qos": 7}}')
        self.assert_fault(["--config", str(self.folder / "gateway.json")], {}, ["mqtt.qos", "0 to 1"])

    def test_syntax_in_a_file_of_conf_d(self):
        self.write("gateway.json", "{}")
        self.write("conf.d/20-bad.json", '{\n"mqtt"}')
        self.assert_fault(["--config", str(self.folder / "gateway.json")], {}, ["20-bad.json:2:7", "not JSON"])

    def test_every_fault_is_told_not_only_the_first(self):
        file = self.write("gateway.json", {"mqtt": {"qos": 7, "usernme": "x"}, "buffer": {"memory": 1}})
        done = iotgw("check", "--config", file)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count("\n"), 3, done.stderr)

    def test_device_verbs_say_that_the_configuration_is_bad(self):
        file = self.write("gateway.json", {"mqtt": {"qos": 7}})
        done = iotgw("device", "list", "--config", file)
        self.assertEqual(done.returncode, 1)
        self.assert_one_line(done.stderr)
        self.assertIn("mqtt.qos", done.stderr)


def bad_file(content, expected):
    def test(self):
        if isinstance(content, bytes):
            (self.folder / "gateway.json").write_bytes(content)
        else:
            self.write("gateway.json", content)
        self.assert_fault(["--config", str(self.folder / "gateway.json")], {}, expected)
    return test


def bad_from_outside(arguments, environment, expected):
    def test(self):
        file = self.write("gateway.json", "{}")
        self.assert_fault(["--config", str(file), *arguments], environment, expected)
    return test


for name, (what, said) in BAD.items():
    setattr(BadConfigurations, f"test_{name}", bad_file(what, said))
for name, (words, variables, said) in BAD_FROM_OUTSIDE.items():
    setattr(BadConfigurations, f"test_{name}", bad_from_outside(words, variables, said))


class GoodConfigurations(BlackBox):
    def assert_right(self, *arguments, environment=None):
        done = iotgw("check", *arguments, environment=environment)
        self.assertEqual(done.returncode, 0, done)
        self.assertIn("the configuration is right", done.stdout)
        return done

    def gateway_id(self, environment=None, arguments=()):
        """The id under which a gateway runs that was started so."""
        gateway = self.gateway({}, environment=environment, arguments=arguments)
        file = gateway.file
        content = json.loads(file.read_text())
        del content["gateway"]
        file.write_text(json.dumps(content | self.changed))
        seen = gateway.start().status()["gateway"]
        self.assert_stops(gateway)
        return seen

    def test_empty_object_and_a_broker_are_enough(self):
        file = self.write("gateway.json", "{}")
        done = self.assert_right("--config", file, "--set", "mqtt.brokers.0=mqtt://127.0.0.1")
        self.assertEqual(done.stderr, "")

    def test_comments_and_trailing_commas(self):
        file = self.write("gateway.json", '// one\n{ /* two */ "mqtt": { "brokers": ["mqtt://127.0.0.1",], }, }\n')
        self.assertEqual(self.assert_right("--config", file).stderr, "")

    def test_byte_order_mark(self):
        self.assert_right("--config", self.write("gateway.json", "\ufeff{}"))

    def test_no_broker_is_a_warning(self):
        self.assertIn("warning: mqtt.brokers", self.assert_right("--config", self.write("gateway.json", "{}")).stderr)

    def test_id_that_several_boxes_share_is_a_warning(self):
        file = self.write("gateway.json", {"gateway": {"id": "raspberrypi"}})
        self.assertIn("raspberrypi", self.assert_right("--config", file).stderr)

    def test_raw_with_old_mqtt_is_a_warning(self):
        file = self.write("gateway.json", {"mqtt": {"payload": "raw", "version": "3.1.1", "brokers": ["mqtt://b"]}})
        self.assertIn("duplicates", self.assert_right("--config", file).stderr)

    def test_none_off_loopback_is_a_warning(self):
        file = self.write("gateway.json", listener(endpoint="0.0.0.0:0", authentication=["none"]))
        self.assertIn("without a key", self.assert_right("--config", file).stderr)

    def test_plain_broker_far_away_is_a_warning(self):
        file = self.write("gateway.json", mqtt(brokers=["mqtt://broker.example"]))
        self.assertIn("warning: mqtt.brokers.0", self.assert_right("--config", file).stderr)

    def test_secret_that_others_read_is_a_warning(self):
        self.write("password", "x").chmod(0o644)
        file = self.write("gateway.json", mqtt(brokers=["mqtts://b"], username="u", passwordFile="password"))
        self.assertIn("warning: mqtt.passwordFile", self.assert_right("--config", file).stderr)

    def test_plain_listener_is_a_hint(self):
        done = self.assert_right("--config", self.write("gateway.json", "{}"))
        self.assertIn("hint: listeners.0", done.stdout)
        self.assertNotIn("listeners", done.stderr)

    def test_schema_knows_every_key_with_its_default(self):
        schema = json.loads(iotgw("check", "--schema").stdout)
        self.assertFalse(schema["additionalProperties"])
        keys = schema["properties"]["listeners"]["items"]["properties"]
        self.assertEqual(keys["idleTimeout"]["default"], "90s")
        self.assertEqual(keys["endpoint"]["default"], "0.0.0.0:7183")
        self.assertEqual(schema["properties"]["buffer"]["properties"]["ack"]["enum"], ["safe", "memory"])

    def test_conf_d_follows_in_name_order(self):
        self.changed = {"gateway": {"id": "main", "trustClock": True}}
        self.write("conf.d/10-first.json", {"gateway": {"id": "first"}})
        self.write("conf.d/20-second.json", {"gateway": {"id": "second"}})
        self.write("conf.d/30-other.json", {"log": {"level": "warning"}})
        self.write("conf.d/40-not.json.bak", {"gateway": {"id": "backup"}})
        self.assertEqual(self.gateway_id(), "second")

    def test_environment_is_over_files(self):
        self.changed = {"gateway": {"id": "main"}}
        self.assertEqual(self.gateway_id({"IOTGW__GATEWAY__ID": "variable"}), "variable")

    def test_set_is_over_environment(self):
        self.changed = {"gateway": {"id": "main"}}
        self.assertEqual(self.gateway_id({"IOTGW__GATEWAY__ID": "variable"}, ["--set", "gateway.id=word"]), "word")

    def test_default_id_is_the_host_name(self):
        self.changed = {}
        self.assertEqual(self.gateway_id(), socket.gethostname())

    def test_relative_paths_are_relative_to_the_file_that_names_them(self):
        main = self.write("etc/gateway.json", {"devices": {"file": "keys/main.json"}})
        self.assertEqual(iotgw("device", "add", "pump-7", "--config", main, cwd="/").returncode, 0)
        self.assertTrue((self.folder / "etc/keys/main.json").is_file())
        self.write("etc/conf.d/10.json", {"devices": {"file": "part.json"}})
        self.assertEqual(iotgw("device", "add", "pump-7", "--config", main, cwd="/").returncode, 0)
        self.assertTrue((self.folder / "etc/conf.d/part.json").is_file())

    def test_paths_of_the_command_line_are_relative_to_where_one_is(self):
        main = self.write("etc/gateway.json", "{}")
        done = iotgw("device", "add", "pump-7", "--config", main, "--set", "devices.file=here.json", cwd=self.folder)
        self.assertEqual(done.returncode, 0)
        self.assertTrue((self.folder / "here.json").is_file())

    def test_credentials_are_those_that_systemd_hands_over(self):
        self.write("credentials/mqtt-password", "secret")
        file = self.write("gateway.json", mqtt(
            username="u", passwordFile="credential:mqtt-password", brokers=["mqtt://b"]))
        self.assert_right("--config", file, environment={"CREDENTIALS_DIRECTORY": str(self.folder / "credentials")})
        done = iotgw("check", "--config", file, environment={"CREDENTIALS_DIRECTORY": str(self.folder)})
        self.assertEqual(done.returncode, 1)
        self.assertIn("LoadCredential=mqtt-password:FILE", done.stderr)

    def test_only_verbs_that_need_credentials_miss_them(self):
        file = self.write("gateway.json", mqtt(username="u", passwordFile="credential:mqtt", brokers=["mqtt://b"])
                          | {"devices": {"file": "keys.json"}, "buffer": {"directory": "buffer"}})
        for verb, code in (("check", 1), ("run", 78)):
            done = iotgw(verb, "--config", file)
            self.assertEqual(done.returncode, code, done)
            self.assertIn("CREDENTIALS_DIRECTORY is not set", done.stderr)
        self.assertEqual(iotgw("device", "add", "pump-7", "--config", file).returncode, 0)
        self.assertTrue((self.folder / "keys.json").is_file())


class PlacesTaken(BlackBox):
    def run_with(self, *arguments):
        file = self.write("gateway.json", {"buffer": {"directory": "buffer"}})
        return iotgw("run", "--config", file, "--socket", self.folder / "control.sock", *arguments)

    def test_port_taken_names_the_listener(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            endpoint = "127.0.0.1:{}".format(taken.getsockname()[1])
            done = self.run_with("--set", 'listeners=[{"name":"free","endpoint":"127.0.0.1:0"},'
                                          f'{{"name":"workshop","endpoint":"{endpoint}"}}]')
        self.assertEqual(done.returncode, 3, done)
        self.assert_one_line(done.stderr)
        self.assertIn("workshop", done.stderr)
        self.assertIn(endpoint, done.stderr)
        self.assertNotIn("   at ", done.stdout)

    def test_address_of_another_machine_names_the_listener(self):
        done = self.run_with("--set", "listeners.0.endpoint=192.0.2.7:0", "--set", "listeners.0.name=workshop")
        self.assertEqual(done.returncode, 3, done)
        self.assert_one_line(done.stderr)
        self.assertIn("workshop", done.stderr)

    def test_http_port_taken_names_http(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            done = self.run_with("--set", "listeners.0.endpoint=127.0.0.1:0",
                                 "--set", "http.endpoint=127.0.0.1:{}".format(taken.getsockname()[1]))
        self.assertEqual(done.returncode, 3, done)
        self.assert_one_line(done.stderr)
        self.assertIn("http", done.stderr)
        self.assertNotIn("   at ", done.stdout)

    def test_control_socket_that_cannot_be_made_is_a_warning(self):
        gateway = self.gateway()
        gateway.socket = self.folder / "file" / "control.sock"
        self.write("file", "in the way")
        process = gateway.start_unchecked()
        gateway.wait_log("no control socket")
        process.terminate()
        self.assertEqual(gateway.wait(), 0)


if __name__ == "__main__":
    unittest.main()
