"""Page 3: the request proves where its key is, and what comes back is opened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from support.technician import Technician, console
from textual import events
from tpm2_pytss import ESAPI, ESYS_TR

from tpmconsole.board.attestation import Evidence, seal
from tpmconsole.board.keys import create_key
from tpmconsole.board.requests import make_request
from tpmconsole.settings import Settings
from tpmconsole.tpm.model import Algorithm
from tpmconsole.x509.demo_ca import DemoCa
from tpmconsole.x509.request_spec import RequestSpec

Make = Callable[..., Settings]


async def requested(technician: Technician, name: str) -> None:
    board = technician.app.board
    await technician.idle()
    await asyncio.to_thread(create_key, board, name, Algorithm.EC_P256)
    await asyncio.to_thread(make_request, board, name, RequestSpec(f"CN={name}"))
    await technician.press("1", "3")
    await technician.sees(f"2 Request   DONE       CN={name}")


async def attest(technician: Technician) -> None:
    await technician.press("h")
    await technician.sees("add what proves that the key is in this TPM")
    await technician.press("a")
    await technician.sees("permanently names this TPM")
    await technician.press("y")


async def test_attested_handed_over_sealed_and_opened(settings: Make, tmp_path: Path) -> None:
    async with console(settings(simulate=True)) as technician:
        await requested(technician, "pump")
        board = technician.app.board
        await technician.press("h", "a", "n")  # which leads back
        await technician.sees("Hand the request of pump")
        await technician.press("escape")
        await attest(technician)
        await technician.sees("Hand the attested request of pump")
        assert "Attest  " not in technician.screen()
        await technician.press("f")
        await technician.sees("Type its path")
        await technician.press("t", "ctrl+u")
        handed = tmp_path / "pump.csr"
        await technician.type(str(handed))
        await technician.press("enter")
        await technician.sees("all of it is on the disk")
        await technician.press("enter")
        await technician.sees("attested, written to")

        sealed, root = await asyncio.to_thread(issued, handed, board.simulator.maker.folder)
        await technician.press("i", "p")
        await technician.sees("Paste it now")
        technician.app.screen.post_message(events.Paste(sealed.read_text()))
        await technician.sees("complete block")
        await technician.press("ctrl+d")
        await technician.sees("sealed")
        await technician.sees("CA          NEXT")
        await technician.press("escape")
        await technician.idle()

        from tpmconsole.board.certificates import install_certificate, judge_certificate

        def install() -> None:
            data = sealed.read_bytes()
            judged = judge_certificate(board, "pump", [data], root.read_bytes(), None)
            assert install_certificate(board, "pump", judged)

        await asyncio.to_thread(install)
        await technician.press("1", "3")
        await technician.sees("Attested")
        await technician.sees("SIMULATED TPM, swtpm")


def issued(request: Path, makers: Path) -> tuple[Path, Path]:
    from cryptography import x509

    folder = request.parent
    chain, root = folder / "chain", folder / "root"
    leaf, trust = DemoCa(folder / "ca").sign(x509.load_pem_x509_csr(request.read_bytes()))
    chain.write_bytes(leaf)
    root.write_bytes(trust)
    seal(Evidence(request, makers), [chain], folder / "pump.sealed")
    return folder / "pump.sealed", root


async def test_the_endorsement_password_is_asked_for(settings: Make) -> None:
    async with console(settings(simulate=True)) as technician:
        await requested(technician, "pump")
        board = technician.app.board

        def protect() -> None:
            import os

            connection = board.connect()
            os.environ.update(connection.environment)
            with ESAPI(connection.tcti) as esapi:
                esapi.hierarchy_change_auth(ESYS_TR.ENDORSEMENT, b"endorser")

        await asyncio.to_thread(protect)
        await attest(technician)
        await technician.sees("endorsement hierarchy")
        await technician.type("wrong")
        await technician.press("enter")
        await technician.sees("refused the password of its endorsement hierarchy")
        await technician.type("endorser")
        await technician.press("enter")
        await technician.sees("Hand the attested request of pump")


async def test_a_chip_without_certificates_says_so(settings: Make, state: Path) -> None:
    (state / "simulator").mkdir(mode=0o700)
    (state / "simulator" / "tpm").mkdir(mode=0o700)
    async with console(settings(simulate=True)) as technician:
        await requested(technician, "pump")
        await attest(technician)
        await technician.sees("the maker left none in this TPM")
        await technician.sees("h on page 3")
