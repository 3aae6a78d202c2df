"""The worker's jobs by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tpmconsole.tpm.jobs import health, held, importing, keys, lockout, persistent, proof, selftest

JOBS: Mapping[str, Callable[..., Any]] = {
    "ping": health.ping,
    "health": health.health,
    "room": health.room,
    "self_test": selftest.self_test,
    "reset_lockout": lockout.reset_lockout,
    "create": keys.create,
    "import_key": importing.import_key,
    "sign": keys.sign,
    "usable": proof.usable,
    "persistent_keys": persistent.persistent_keys,
    "public_pem": persistent.public_pem,
    "persist": persistent.persist,
    "evict": persistent.evict,
    "held_public_key": held.public_key,
    "held_sign": held.sign,
    "held_raw_rsa": held.raw_rsa,
    "held_release": held.release,
}
