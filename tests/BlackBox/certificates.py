"""Certificate authorities for tests, made by the openssl program."""
import pathlib
import subprocess

CONFIGURATION = """
[ca]
default_ca = ours
[ours]
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""


def openssl(*arguments):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError(f"openssl {arguments[0]}: {done.stderr.decode()}")


class Authority:
    """A root with what it has issued in a folder; make() returns the path of a certificate and of its key."""

    def __init__(self, folder, name="devices"):
        self.folder = pathlib.Path(folder) / f"authority-{name}"
        self.folder.mkdir(parents=True)
        (self.folder / "index").touch()
        (self.folder / "serial").write_text("01")
        self.configuration = self.folder / "openssl.cnf"
        self.configuration.write_text(CONFIGURATION.format(folder=self.folder))
        self.file = self.folder / "ca.pem"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
                f"/CN={name} root", "-keyout", self.folder / "ca.key", "-out", self.file)

    def make(self, name, *names, file=None, begin=None, end=None, usage=None):
        """names are DNS names or addresses; begin and end as in 20260101000000Z; usage is an extended key usage."""
        base = self.folder / (file or name)
        certificate, key, request = (base.with_name(base.name + end_of) for end_of in (".pem", ".key", ".csr"))
        extensions = []
        if names:
            extensions += ["-addext", "subjectAltName=" + ",".join(names)]
        if usage:
            extensions += ["-addext", f"extendedKeyUsage={usage}"]
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", key, "-out", request, *extensions)
        dates = (["-startdate", begin] if begin else []) + (["-enddate", end] if end else [])
        openssl("ca", "-batch", "-notext", "-config", self.configuration, "-in", request, "-out", certificate, *dates)
        key.chmod(0o600)
        return certificate, key

    def revoke(self, *certificates):
        for certificate in certificates:
            openssl("ca", "-config", self.configuration, "-revoke", certificate)

    def write_crl(self, file):
        """Replaces the list as a whole, as whoever fetches it would."""
        beside = file.with_suffix(".new")
        openssl("ca", "-config", self.configuration, "-gencrl", "-out", beside)
        beside.replace(file)
        return file
