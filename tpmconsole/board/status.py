"""What is done to the TPM itself: forget its wrong passwords, stop the simulated one."""

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
    """To forget all wrong passwords.

    Raises:
        ConsoleError: the TPM does not answer, or does not tell of its lock-out.
    """
    health = board.status(brief=True)
    if health.lockout is None:
        raise ConsoleError(
            "Lock-out not told", "the TPM is in failure mode", "power the board off and on"
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
        not_done="Not reset",
    )


def plan_stop_simulator(board: Board) -> Plan[bool] | None:
    """To stop the simulator while sessions sign with its keys; None where none does."""
    users = [
        session.id
        for session in board.sessions.list()
        if session.simulated and not session.state.ended
    ]
    if not users:
        return None
    return Plan(
        title="Stop the simulator",
        losses=(f"{', '.join(users)} would sign no new connections",),
        question="Stop it all the same?",
        doing="stopping the simulator",
        apply=lambda _: board.simulator.stop(),
        not_done="Simulator in use",
        instead=NextStep(Action.STOP, text="end them first ({})"),
        refused=ExitCode.NO,
    )


def why_it_failed() -> ConsoleError:
    """What a TPM in failure mode says to everything, and what to do about it."""
    from tpmconsole.tpm.responses import Code, explain

    return explain(Code.FAILURE)
