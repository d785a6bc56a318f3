"""TLS for tests: a certificate that signs itself, and what a server is told of it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests import servers


@dataclass(frozen=True)
class Certificate:
    certificate: Path
    key: Path

    def options(self, port: int) -> list[str]:
        """Of a server that takes TLS at this port, and speaks TLS to its replicas, its cluster and its sentinels."""
        options = ["--tls-port", str(port), "--tls-auth-clients", "no", "--tls-ca-cert-file", str(self.certificate)]
        options += ["--tls-cert-file", str(self.certificate), "--tls-key-file", str(self.key)]
        return [*options, "--tls-replication", "yes"]


def make(folder: Path) -> Certificate:
    """For 127.0.0.1."""
    program = shutil.which("openssl") or servers.missing("no openssl on the PATH (Debian: apt-get install openssl)")
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    what = ["-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    where = ["-out", str(made.certificate), "-keyout", str(made.key)]
    subprocess.run([program, "req", "-x509", "-nodes", *what, *where], check=True, capture_output=True)
    return made
