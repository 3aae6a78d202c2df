"""Time-outs that must be in a certain order, so that whoever knows more speaks first."""

from __future__ import annotations

from tpmconsole.session import manager, reload
from tpmconsole.session.process import lifecycle
from tpmconsole.tpm import signer


def test_a_slow_start_is_explained_by_the_part_nearest_to_the_tpm() -> None:
    """The signer names the TPM's trouble, the pre-flight the TPM; the console only that it waits.

    Were an outer one shorter, the user would read its vague words instead of the inner one's.
    """
    assert manager.START_S > lifecycle.PREFLIGHT_S > signer.DEADLINE_S
    assert reload.PATIENCE_S > signer.DEADLINE_S
