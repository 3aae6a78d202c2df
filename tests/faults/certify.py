"""A certificate for an identity of a scene, from a temporary CA."""

from __future__ import annotations

from cryptography import x509
from faults.scene import Scene

from tpmconsole.x509.demo_ca import DemoCa


def certify(scene: Scene, name: str) -> None:
    """Let the CA sign an identity's request, and import the certificate; it is kept in NAME.pem."""
    request = x509.load_pem_x509_csr((scene.state / f"identities/{name}/request.pem").read_bytes())
    chain, trust = DemoCa(scene.folder / "ca").sign(request)
    certificate, anchors = scene.folder / f"{name}.pem", scene.folder / "trust.pem"
    certificate.write_bytes(chain)
    anchors.write_bytes(trust)
    done = scene.command("import", name, str(certificate), "--trust", str(anchors))
    assert done.returncode == 0, done.stdout + done.stderr
