"""The worker's jobs by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tpmconsole.tpm.jobs import health, keys, persistent, proof, selftest

JOBS: Mapping[str, Callable[..., Any]] = {
    "ping": health.ping,
    "health": health.health,
    "self_test": selftest.self_test,
    "create": keys.create,
    "sign": keys.sign,
    "usable": proof.usable,
    "persistent_keys": persistent.persistent_keys,
    "public_pem": persistent.public_pem,
    "persist": persistent.persist,
    "evict": persistent.evict,
}
