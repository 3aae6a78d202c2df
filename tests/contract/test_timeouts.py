"""Time-outs whose order matters, so that the part that knows most reports first."""

from __future__ import annotations

from tpmconsole.session import manager, reload
from tpmconsole.session.process import lifecycle
from tpmconsole.tpm import signer


def test_a_slow_start_is_explained_by_the_part_nearest_to_the_tpm() -> None:
    """The signer names the TPM's problem, the pre-flight the TPM; the console only says it waits.

    Were an outer one shorter, the user would read its vague words instead of the inner one's.
    """
    assert manager.START_S > lifecycle.PREFLIGHT_S > signer.DEADLINE_S
    assert reload.PATIENCE_S > signer.DEADLINE_S
