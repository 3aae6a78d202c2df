"""The worker's jobs by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tpmconsole.tpm.worker.jobs import (
    attest,
    check_key,
    create,
    dictionary_attack,
    find_parent,
    health,
    held_key,
    persistent,
    read_public,
)

JOBS: Mapping[str, Callable[..., Any]] = {
    "ping": health.ping,
    "health": health.health,
    "room": health.room,
    "self_test": health.self_test,
    "reset_lockout": dictionary_attack.reset_lockout,
    "create": create.create,
    "import_key": create.import_key,
    "sign": create.sign,
    "usable": check_key.usable,
    "persistent_keys": persistent.persistent_keys,
    "public_pem": persistent.public_pem,
    "read_public": read_public.read_public,
    "loads_below": find_parent.loads_below,
    "handles_above": find_parent.handles_above,
    "persist": persistent.persist,
    "evict": persistent.evict,
    "endorsement": attest.endorsement,
    "activate": attest.activate,
    "held_public_key": held_key.public_key,
    "held_sign": held_key.sign,
    "held_raw_rsa": held_key.raw_rsa,
    "held_release": held_key.release,
}
