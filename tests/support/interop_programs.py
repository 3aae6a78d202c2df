"""Programs of other projects: web servers and a broker, on free ports, ended with the test."""

from __future__ import annotations

import os
import platform
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from support.pki import SoftwareIdentity
from support.waiting import wait_until
from support.world import LOCAL

UNPACKED = Path(__file__).parents[2] / ".interop"
PLACES = ("/usr/sbin", "/usr/local/sbin", "/sbin", f"{UNPACKED}/usr/sbin", f"{UNPACKED}/usr/bin")


def find(name: str) -> str:
    """Return the program's path: the machine's own, or the one that ``make interop`` unpacked."""
    path = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *PLACES]))
    assert path, f"{name} is missing: make interop fetches it"
    return path


def free_port() -> int:
    with socket.create_server((LOCAL, 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True)
class Listening:
    """A running server: its address, and the file with its output."""

    port: int
    log: Path

    def said(self, words: str) -> None:
        """Wait until its output contains a text."""
        wait_until(lambda: words in self.log.read_text(), f"{words!r} in {self.log.read_text()}")


@contextmanager
def running(command: Sequence[str], port: int, log: Path) -> Iterator[Listening]:
    libraries = UNPACKED / f"usr/lib/{platform.machine()}-linux-gnu"
    environment = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(libraries)}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as process,
    ):
        try:
            wait_until(lambda: process.poll() is not None or listens(port), "it listens")
            assert process.poll() is None, log.read_text()
            yield Listening(port, log)
        finally:
            process.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOCAL, port)) == 0


@contextmanager
def nginx(folder: Path, identity: SoftwareIdentity, upstream: str = "") -> Iterator[Listening]:
    """A web server that requires a certificate and names its owner; or that forwards all by TLS.

    Args:
        upstream: where to: ``HOST:PORT``; to it nginx is a client with the same certificate.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, tls = free_port(), f"{identity.certificate}; proxy_ssl_certificate_key {identity.key}"
    demand = f"""
        ssl_certificate {identity.certificate}; ssl_certificate_key {identity.key};
        ssl_client_certificate {identity.trust}; ssl_verify_client on;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ return 200 "$ssl_client_verify $ssl_client_s_dn\\n"; }}"""
    passing = f"""
        location / {{
            proxy_pass https://{upstream}; proxy_ssl_certificate {tls};
            proxy_ssl_trusted_certificate {identity.trust}; proxy_ssl_verify on;
            proxy_ssl_name localhost; proxy_ssl_server_name on;
            proxy_ssl_protocols TLSv1.2 TLSv1.3;
        }}"""
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    configuration.write_text(f"""
daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr info;
events {{ }}
http {{
    {temporary}
    log_format told '$ssl_protocol $ssl_client_verify "$ssl_client_s_dn" $status';
    access_log {folder}/access.log told;
    server {{
        listen {LOCAL}:{port}{"" if upstream else " ssl"};
        {passing if upstream else demand}
    }}
}}
""")
    command = [find("nginx"), "-p", str(folder), "-c", str(configuration), "-e", "stderr"]
    with running(command, port, folder / "output.log") as found:
        yield Listening(found.port, folder / "access.log")


@contextmanager
def apache(folder: Path, identity: SoftwareIdentity) -> Iterator[Listening]:
    """A web server that asks for a certificate only for /private, and names its owner."""
    folder.mkdir(parents=True, exist_ok=True)
    port, program = free_port(), find("apache2")
    modules = Path(program).parents[1] / "lib" / "apache2" / "modules"
    loaded = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "socache_shmcb", "status", "ssl")
    )
    configuration = folder / "apache.conf"
    configuration.write_text(f"""
{loaded}
ServerRoot {folder}
ServerName localhost
PidFile {folder}/apache.pid
DefaultRuntimeDir {folder}
ErrorLog /dev/stderr
LogLevel info
LogFormat "%{{SSL_PROTOCOL}}x %{{SSL_CLIENT_VERIFY}}x \\"%{{SSL_CLIENT_S_DN}}x\\" %>s" told
CustomLog {folder}/access.log told
User {pwd.getpwuid(os.geteuid()).pw_name if os.geteuid() else "nobody"}
Listen {LOCAL}:{port}
SSLEngine on
SSLCertificateFile {identity.certificate}
SSLCertificateKeyFile {identity.key}
SSLCACertificateFile {identity.trust}
<Location />
SetHandler server-status
</Location>
<Location /private>
SSLVerifyClient require
</Location>
""")
    command = [program, "-DFOREGROUND", "-f", str(configuration)]
    with running(command, port, folder / "output.log") as found:
        yield Listening(found.port, folder / "access.log")


@contextmanager
def mosquitto(folder: Path, identity: SoftwareIdentity) -> Iterator[Listening]:
    """An MQTT broker that requires a certificate and uses its subject as the user's name."""
    folder.mkdir(parents=True, exist_ok=True)
    port, configuration = free_port(), folder / "mosquitto.conf"
    configuration.write_text(f"""
listener {port} {LOCAL}
user {pwd.getpwuid(os.geteuid()).pw_name}
cafile {identity.trust}
certfile {identity.certificate}
keyfile {identity.key}
require_certificate true
use_identity_as_username true
log_type all
log_dest stderr
""")
    command = [find("mosquitto"), "-c", str(configuration)]
    with running(command, port, folder / "output.log") as found:
        yield found
