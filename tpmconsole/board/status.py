"""Change the TPM itself: reset its lock-out, stop the simulated TPM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tpmconsole.board.phrases import lockout_details, reset_danger
from tpmconsole.board.plan import Plan
from tpmconsole.errors import Action, ConsoleError, ExitCode, NextStep
from tpmconsole.tpm.auth import check_password

if TYPE_CHECKING:
    from tpmconsole.board import Board
    from tpmconsole.tpm.auth import Auth


def plan_reset_lockout(board: Board) -> Plan[None]:
    """Plan to reset the lock-out, so that the TPM forgets all wrong passwords.

    Raises:
        ConsoleError: the TPM does not answer, or does not report its lock-out.
    """
    health = board.status(brief=True)
    if health.lockout is None:
        raise ConsoleError(
            "Lock-out unknown", "the TPM is in failure mode", "power the board off and on"
        )
    hierarchy = health.hierarchies.get("lockout")
    guarded = hierarchy is not None and hierarchy.auth_set
    who, wrong_one = reset_danger(health.lockout)

    def apply(auth: Auth) -> None:
        check_password(auth.lockout)
        board.tpm.reset_lockout(auth.lockout)
        board.record("lockout reset")

    return Plan(
        title="Reset the lock-out",
        losses=(f"Now {lockout_details(health.lockout)}.", who, *([wrong_one] if guarded else [])),
        question="Forget all wrong passwords?",
        doing="resetting the lock-out",
        apply=apply,
        subject="the TPM",
        needs="lockout" if guarded else None,
        not_done="Lock-out not reset",
    )


def plan_stop_simulator(board: Board) -> Plan[bool] | None:
    """Plan to stop the simulator while sessions sign with its keys; None if no session does."""
    users = [
        session.id
        for session in board.sessions.list()
        if session.simulated and not session.state.ended
    ]
    if not users:
        return None
    return Plan(
        title="Stop the simulator",
        losses=(f"{', '.join(users)} could not sign for new connections",),
        question="Stop it anyway?",
        doing="stopping the simulator",
        apply=lambda _: board.simulator.stop(),
        not_done="Simulator in use",
        instead=NextStep(Action.STOP, text="end them first ({})"),
        refused=ExitCode.NO,
    )


def why_it_failed() -> ConsoleError:
    """The error of a TPM in failure mode, which it gives for every command, and the remedy."""
    from tpmconsole.tpm.responses import Code, explain

    return explain(Code.FAILURE)
