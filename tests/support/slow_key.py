"""A server's key that signs as slowly as a test wants, and the jobs of its signing thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from support.pki import SoftwareIdentity, SoftwareSigner
from support.world import DEADLINE_S
from tpmconsole.session.process.signing_thread import SigningThread
from tpmconsole.session.tls.bridge import Bridge
from tpmconsole.session.tls.context import BridgeEngine

T = TypeVar("T")


class SlowKey:
    """Signs only when the test allows it; everything except the time it takes is real.

    Attributes:
        begun: how many signatures have been asked for.
    """

    def __init__(self, identity: SoftwareIdentity) -> None:
        key = load_pem_private_key(identity.key.read_bytes(), None)
        self._signer = SoftwareSigner(key)  # type: ignore[arg-type]
        self._may = threading.Semaphore(0)
        self.begun = 0
        bridge = Bridge(self._signer.public_key(), self._sign, None)
        self.engine = BridgeEngine(bridge, identity.certificate)

    def let(self, count: int = 1) -> None:
        """Allow this many signatures to be finished."""
        self._may.release(count)

    def _sign(self, digest: bytes, hash_name: str, scheme: str) -> bytes:
        self.begun += 1
        if not self._may.acquire(timeout=DEADLINE_S):
            raise TimeoutError("the test let nobody sign")
        return self._signer.sign(digest, hash_name, scheme)


class ListeningThread(SigningThread):
    """Records the owners of its jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str | None] = []

    async def run(self, job: Callable[[], T], owner: str | None = None) -> T:
        self.asked.append(owner)
        return await super().run(job, owner)
