"""The bill of materials that ./publish.sh makes: whole, about this executable, and the same from the same input."""
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import unittest

import bench
from bench import BlackBox

SOURCES = bench.ROOT / "src" / "IotTcpGateway"
# Packages that are references of the project and yet not of the executable: tools of the build.
TOOLS = re.compile(r"(?i)analyzers|ilcompiler|illink")


def published():
    version = re.search(r"<Version>(.*)</Version>", (bench.ROOT / "Directory.Build.props").read_text())[1]
    return bench.ROOT / "dist" / f"iotgw-{version}-{bench.MACHINE}", version


@unittest.skipUnless(published()[0].with_name(published()[0].name + ".cdx.json").exists(), "nothing was published here")
class BillOfMaterials(BlackBox):
    def setUp(self):
        super().setUp()
        self.base, self.version = published()
        self.file = self.base.with_name(self.base.name + ".cdx.json")
        self.bill = json.loads(self.file.read_text())
        self.components = {one["name"]: one for one in self.bill["components"]}
        self.program = bench.ROOT / "artifacts" / "publish" / bench.MACHINE / "iotgw"

    def test_it_is_of_this_executable(self):
        described = self.bill["metadata"]["component"]
        self.assertEqual(described["version"], self.version)
        self.assertEqual(described["hashes"][0]["content"], hashlib.sha256(self.program.read_bytes()).hexdigest())

    def test_structure_is_that_of_cyclonedx(self):
        self.assertEqual((self.bill["bomFormat"], self.bill["specVersion"]), ("CycloneDX", "1.6"))
        self.assertRegex(self.bill["serialNumber"], r"^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        described = [*self.bill["components"], self.bill["metadata"]["component"]]
        references = [one["bom-ref"] for one in described]
        self.assertEqual(len(references), len(set(references)))
        self.assertEqual({one["ref"] for one in self.bill["dependencies"]}, set(references))
        for one in self.bill["dependencies"]:
            self.assertLessEqual(set(one.get("dependsOn", [])), set(references))

    def test_every_component_says_where_it_is_from(self):
        for name, one in self.components.items():
            with self.subTest(name):
                self.assertTrue(one["licenses"])
                if one["bom-ref"].startswith("pkg:nuget/"):
                    self.assertEqual(one["purl"], f"pkg:nuget/{name}@{one['version']}")
                    self.assertRegex(one["hashes"][0]["content"], r"^[0-9a-f]{128}$")
                else:
                    self.assertIn("iotgw:linkage", [each["name"] for each in one["properties"]])

    def test_every_direct_package_is_there_as_it_was_locked(self):
        locked = json.loads((SOURCES / f"packages.{bench.MACHINE}.lock.json").read_text())["dependencies"]
        packages = {name: one for target in locked.values() for name, one in target.items()
                    if one["type"] == "Direct" and not TOOLS.search(name)}
        self.assertGreater(len(packages), 3)
        for name, one in packages.items():
            with self.subTest(name):
                self.assertEqual(self.components[name]["version"], one["resolved"])

    def test_runtime_and_libraries_of_the_machine_are_there(self):
        for name in (f"Microsoft.NETCore.App.Runtime.NativeAOT.{bench.MACHINE}",
                     f"Microsoft.AspNetCore.App.Runtime.{bench.MACHINE}", "openssl", "glibc", "llvm-libunwind"):
            self.assertIn(name, self.components)

    def test_nothing_of_this_machine_is_in_it(self):
        text = self.file.read_text()
        for private in (str(bench.ROOT), str(pathlib.Path.home()), "timestamp"):
            self.assertNotIn(private, text)

    def test_same_input_gives_the_same_bytes(self):
        again, notices = self.folder / "again.json", self.folder / "notices"
        tools = [f"--tool={one['name']}={one['version']}" for one in self.bill["metadata"]["tools"]["components"][1:-1]]
        subprocess.run([sys.executable, "-B", bench.ROOT / "deploy" / "sbom.py", "--executable", self.program,
                        "--symbols", self.program.with_suffix(".dbg"), "--build", SOURCES / "obj",
                        "--rid", bench.MACHINE, "--version", self.version, *tools, "--sbom", again,
                        "--notices", notices], check=True, timeout=60)
        self.assertEqual(again.read_bytes(), self.file.read_bytes())
        with tarfile.open(f"{self.base}.tar.gz") as archive:
            self.assertEqual(archive.extractfile("THIRD-PARTY-NOTICES").read(), notices.read_bytes())
            self.assertEqual({one.name: one.mode for one in archive.getmembers()},
                             {"iotgw": 0o755, "THIRD-PARTY-NOTICES": 0o644})


if __name__ == "__main__":
    unittest.main()
