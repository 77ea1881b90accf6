#!/usr/bin/env python3
"""Writes what is really inside a published executable, as CycloneDX 1.6 and as the licences to ship with it.

  sbom.py --executable iotgw --symbols iotgw.dbg --build src/IotTcpGateway/obj --rid linux-x64 --version 0.1.0
          --sbom iotgw.cdx.json --notices THIRD-PARTY-NOTICES

Candidates are the assemblies that the compiler was given; a package counts as shipped when one of its assemblies has
left a symbol in the executable. Same input, same bytes: no time, no path of this machine; the serial number follows
from the executable.
"""
import argparse
import base64
import hashlib
import json
import pathlib
import re
import struct
import sys
import uuid

# Libraries of others in the runtime's native part, and a symbol that only they have. None of these is linked today;
# should one be, its version has to be looked up, and that is for a person.
UNEXPECTED = {"zlib-ng": r"(zng_)?inflateInit2_?", "brotli": r"Brotli(Decoder|Encoder)\w+", "ICU": r"u_strlen_?\w*",
              "zstd": r"ZSTD_\w+"}
UNWINDER = r"_ZN9libunwind\w+"
# Of a licence that comes as a file: what only this one says.
MIT = ("Permission is hereby granted, free of charge, to any person obtaining a copy of this software",
       "The above copyright notice and this permission notice shall be included in all copies")


def main():
    options = read_options()
    symbols = symbols_of(options.symbols)
    check_native(symbols)
    packages = shipped_packages(options, symbols)
    write_json(options.sbom, bill(options, options.executable.read_bytes(), symbols, packages))
    options.notices.write_text(notices(packages))


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("executable", "symbols", "build", "sbom", "notices"):
        parser.add_argument("--" + name, type=pathlib.Path, required=True)
    for name in ("rid", "version"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--tool", action="append", default=[], metavar="NAME=VERSION", help="it was built with")
    return parser.parse_args()


# What the executable has


def sections(image):
    """Name to (type, content) of a 64-bit little-endian ELF file."""
    start, = struct.unpack_from("<Q", image, 40)
    size, count, names_at = struct.unpack_from("<HHH", image, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", image, start + size * number) for number in range(count)]
    names = headers[names_at]
    found = {}
    for name, kind, _, _, offset, length, *_ in headers:
        at = names[4] + name
        content = b"" if kind == 8 else image[offset:offset + length]  # 8: takes no room in the file
        found[image[at:image.index(b"\0", at)].decode()] = content
    return found


def symbols_of(file):
    return [name.decode(errors="replace") for name in sections(file.read_bytes())[".strtab"].split(b"\0")]


def needed_libraries(image):
    """DT_NEEDED, and the newest version of the C library that is asked for."""
    parts = sections(image)
    text = parts[".dynstr"]
    entries = struct.iter_unpack("<QQ", parts[".dynamic"])
    libraries = sorted(text[at:text.index(b"\0", at)].decode() for tag, at in entries if tag == 1)
    versions = re.findall(rb"GLIBC_(\d+)\.(\d+)", text)
    return libraries, max((int(major), int(minor)) for major, minor in versions)


# What the compiler was given


def shipped_packages(options, symbols):
    root = pathlib.Path(next(iter(assets(options)["packageFolders"])))
    native = options.build / "Release" / "net10.0" / options.rid / "native"
    given = {}
    for line in (native / "iotgw.ilc.rsp").read_text().splitlines():
        file = pathlib.Path(line.removeprefix("-r:"))
        if line.startswith("-r:") and file.is_relative_to(root):
            name, version = file.relative_to(root).parts[:2]
            given[mangled(file.stem)] = (file.stem, root / name / version)
    left = assemblies_of(symbols, given)
    folders = sorted({given[one][1] for one in left})
    return [Package(folder, sorted(given[one][0] for one in left if given[one][1] == folder)) for folder in folders]


def assets(options):
    return json.loads((options.build / "project.assets.json").read_text())


def tools(options):
    """Who wants the same bytes needs the same of these."""
    compiler = "Microsoft.DotNet.ILCompiler"
    libraries = dict(one.split("/") for one in assets(options)["libraries"])
    others = [one.split("=", 1) for one in options.tool]
    return [(compiler, libraries[compiler]), *others, ("deploy/sbom.py", options.version)]


def mangled(assembly):
    """An assembly's name as the compiler begins symbols with it."""
    return re.sub(r"[^A-Za-z0-9]", "_", re.sub(r"^System\.Private\.", "S.P.", assembly))


def assemblies_of(symbols, given):
    """Which of the given assemblies a symbol begins with; the longest name wins."""
    left = set()
    for symbol in symbols:
        parts = re.sub(r"^(_*(unbox|Boxed|GenericDict|NonGC|GC)_+)+", "", symbol).split("_")
        for length in range(min(len(parts) - 1, 8), 0, -1):
            name = "_".join(parts[:length])
            if name in given:
                left.add(name)
                break
    return left


def check_native(symbols):
    for name, pattern in UNEXPECTED.items():
        found = next((symbol for symbol in symbols if re.fullmatch(pattern, symbol)), None)
        if found:
            sys.exit(f"sbom.py: the executable has {name} in it ({found}), which it had not before: name it in sbom.py")


class Package:
    def __init__(self, folder, assemblies):
        self.folder, self.assemblies = folder, assemblies
        self.specification = next(folder.glob("*.nuspec")).read_text(encoding="utf-8-sig")
        self.name, self.version = self.element("id"), self.element("version")

    @property
    def is_runtime(self):
        return "App.Runtime" in self.name

    @property
    def purl(self):
        return f"pkg:nuget/{self.name}@{self.version}"

    def element(self, name):
        found = re.search(rf"<{name}(?: [^>]*)?>([^<]*)</{name}>", self.specification)
        return found[1].strip() if found else ""

    def license_files(self):
        return sorted(file for file in self.folder.iterdir()
                      if re.match(r"(LICENSE|THIRD-PARTY-NOTICES)", file.name, re.IGNORECASE))

    def license(self):
        expression = re.search(r'<license type="expression">([^<]*)<', self.specification)
        if expression:
            return expression[1]
        text = " ".join(" ".join(file.read_text(encoding="utf-8-sig") for file in self.license_files()[:1]).split())
        if all(part in text for part in MIT):
            return "MIT"
        sys.exit(f"sbom.py: {self.name} {self.version} has a licence that sbom.py cannot tell: name it there")

    def content_hash(self):
        """What the lock file holds and every restore verifies."""
        return base64.b64decode(json.loads((self.folder / ".nupkg.metadata").read_text())["contentHash"]).hex()

    def component(self):
        return {
            "type": "framework" if self.is_runtime else "library",
            "bom-ref": self.purl,
            "authors": [{"name": self.element("authors")}],
            "name": self.name,
            "version": self.version,
            "description": self.element("description").splitlines()[0],
            "scope": "required",
            "hashes": [{"alg": "SHA-512", "content": self.content_hash()}],
            "licenses": [{"license": {"id": self.license()}}],
            "purl": self.purl,
            "properties": [{"name": "iotgw:assemblies", "value": ", ".join(self.assemblies)}],
        }


# What is written


def bill(options, program, symbols, packages):
    libraries, (major, minor) = needed_libraries(program)
    digest = hashlib.sha256(program).hexdigest()
    me = f"pkg:generic/iot-tcp-gateway@{options.version}?platform={options.rid}"
    components = [one.component() for one in packages] + native_components(symbols, libraries, f"{major}.{minor}")
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, "sha256:" + digest).urn,
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": name, "version": version}
                                     for name, version in tools(options)]},
            "component": {
                "type": "application",
                "bom-ref": me,
                "name": "iot-tcp-gateway",
                "version": options.version,
                "hashes": [{"alg": "SHA-256", "content": digest}],
                "purl": me,
            },
            "properties": [
                {"name": "iotgw:rid", "value": options.rid},
                {"name": "iotgw:hashes", "value": "NuGet packages: contentHash of the lock file, without signature"},
            ],
        },
        "components": components,
        "dependencies": [{"ref": me, "dependsOn": sorted(one["bom-ref"] for one in components)}]
                        + [{"ref": one["bom-ref"]} for one in components],
        "compositions": [{"aggregate": "complete", "assemblies": [me]}],
    }


def native_components(symbols, libraries, c_library_version):
    """What is not of NuGet: linked into the runtime's native part, or taken from the machine."""
    components = [
        native("glibc", "LGPL-2.1-or-later", f"of the machine, at least {c_library_version}: " + ", ".join(libraries)),
        native("openssl", "Apache-2.0", "of the machine, loaded for TLS and hashes: libssl.so.3, libcrypto.so.3"),
        native("libgssapi-krb5", "MIT", "of the machine, loaded for Kerberos alone: libgssapi_krb5.so.2", "optional"),
    ]
    if any(re.fullmatch(UNWINDER, symbol) for symbol in symbols):
        components.append(
            native("llvm-libunwind", "Apache-2.0 WITH LLVM-exception", "linked statically, in the .NET runtime"))
    return components


def native(name, licence, linkage, scope="required"):
    reference = "native:" + name
    licensed = {"expression": licence} if " " in licence else {"license": {"id": licence}}
    return {"type": "library", "bom-ref": reference, "name": name, "scope": scope, "licenses": [licensed],
            "properties": [{"name": "iotgw:linkage", "value": linkage}]}


def write_json(file, value):
    file.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def notices(packages):
    """The licences of what is inside, each text once."""
    texts = {}
    for package in packages:
        for file in package.license_files():
            text = file.read_text(encoding="utf-8-sig").replace("\r\n", "\n").strip()
            texts.setdefault(text, []).append(f"{package.name} {package.version}")
    head = ["iotgw contains these components; what they say follows.", ""]
    head += [f"{one.name} {one.version} ({one.license()}), {one.element('copyright') or one.element('authors')}"
             for one in packages]
    parts = ["\n".join(head)] + [f"Of {', '.join(names)}:\n\n{text}" for text, names in texts.items()]
    return ("\n\n" + "-" * 78 + "\n\n").join(parts) + "\n"


if __name__ == "__main__":
    main()
