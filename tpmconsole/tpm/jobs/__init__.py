"""What the worker can do. Importing this loads the TSS: for child processes only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tpmconsole.tpm.jobs import health, selftest

JOBS: Mapping[str, Callable[..., Any]] = {
    "ping": health.ping,
    "health": health.health,
    "self_test": selftest.self_test,
}
