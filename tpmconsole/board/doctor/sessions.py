"""Probes of running sessions: what will stop them from accepting peers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tpmconsole.board.doctor.examination import Examination
from tpmconsole.board.sessions import crl_state
from tpmconsole.finding import Finding, skipped


def revocation(examination: Examination) -> Iterator[Finding]:
    """How long are the lists of revoked certificates valid?"""
    found = False
    for session in examination.board.sessions.list():
        finding = crl_state(examination.board, session)
        if finding is not None:
            found = True
            yield replace(finding, text=f"{session.id}: {finding.text}")
    if not found:
        yield skipped("no running session has a list of revoked certificates")
