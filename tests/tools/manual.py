"""Writes the manual page and the shells' completions from the parser: ``python -m tools.manual``.

Both are committed, so that a board needs none of the tools; a test finds out when they are stale.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import shtab
from build_manpages.manpage import Manpage

from tpmconsole import __version__
from tpmconsole.cli.main import build_parser
from tpmconsole.errors import ExitCode

SHARE = Path(__file__).parents[2] / "tpmconsole" / "share"
_ONE_LINE = 10_000

EXIT_CODES = {
    ExitCode.YES: "yes, done",
    ExitCode.NO: "no: a failed self-test, a refused certificate, a session that ended in error",
    ExitCode.USAGE: "wrong usage",
    ExitCode.NO_TPM: "no TPM could be reached",
    ExitCode.REFUSED: "the TPM refused: authorisation, lock-out, no room",
    ExitCode.UNEXPECTED: "something unexpected; the log has the details",
}
ENVIRONMENT = {
    "TPMCONSOLE_STATE": "the state directory, as --state",
    "TPMCONSOLE_TCTI, TPM2TOOLS_TCTI": "which TPM to use, as --tcti",
    "TPMCONSOLE_CONFIG": "a settings file to read instead of the two below",
}
# What a board and its CA exchange to prove where a key is, byte for byte; enrol/files.py has it.
FORMATS = """\
All are PEM blocks (RFC 7468); text around them is ignored. Numbers are big-endian. TPM2B is a
length of two bytes and so many bytes. Each block of ours begins with the version, two bytes: 1.
.SS "Attested request (request --attest)"
.TP
.B CERTIFICATE REQUEST
PKCS #10. It is first, so that programs that know nothing of the rest read it alone.
.TP
.B TPM ATTESTED KEY
version; TPM2B of the key's TPMT_PUBLIC. Its Name is two bytes of nameAlg and the digest of the
TPMT_PUBLIC by that hash.
.TP
.B CERTIFICATE
the endorsement certificates (which are no CA's) and the CAs of the chip's maker (which are).
.SS "Envelope: a secret of 32 bytes for one key in one chip"
version; TPM2B Name of the key; 32 bytes: SHA-256 of the SubjectPublicKeyInfo of the endorsement
key; TPM2B_ID_OBJECT; TPM2B_ENCRYPTED_SECRET. The last two are what TPM2_MakeCredential gives for
the endorsement key and the Name, and TPM2_ActivateCredential takes. What the certificate does not
say of the endorsement key follows from its size: SHA-256 and AES-128 for RSA 2048 and P-256,
SHA-384 and AES-256 for RSA 3072, RSA 4096 and P-384, SHA-512 and AES-256 for P-521.
.SS "Sealed certificate (attest seal)"
.TP
.B TPM SEALED CERTIFICATE
an envelope; 12 bytes of nonce; the rest: certificates as PEM, the key's own first, encrypted by
AES-256-GCM with the secret as its key, and the tag of 16 bytes. All that is before the encrypted
bytes is authenticated with them.
.SS "Challenge and answer (attest challenge, answer, verify)"
.TP
.B TPM CHALLENGE
an envelope.
.TP
.B TPM CHALLENGE ANSWER
version; 32 bytes: SHA-256 of the request as DER; 32 bytes: HMAC-SHA256 with the secret as its key,
over the ASCII text TPM CHALLENGE ANSWER, a zero byte and the 32 bytes before.
.TP
.B TPM CHALLENGE EXPECTED ANSWER
the same bytes, which the CA keeps to itself until the answer comes.
.SS "Inventory (attest check --inventory)"
CSV: the SHA-256 of the SubjectPublicKeyInfo of a chip's endorsement key in hexadecimal, the name of
its board, and the alternative names that the board may have besides, with spaces between them.
Lines that begin with # are ignored."""
FILES = {
    "/var/lib/tpmconsole": "the state directory of root; else ~/.local/state/tpmconsole",
    "tpmconsole.toml": "settings, in the state directory or in /etc",
    "/dev/tpmrm0": "the TPM, through the kernel's resource manager",
}


def made() -> dict[Path, str]:
    """What belongs into each file."""
    return {
        SHARE / "man/man1/tpmconsole.1": _manual(),
        SHARE / "bash-completion/completions/tpmconsole": _completion("bash"),
        SHARE / "zsh/site-functions/_tpmconsole": _completion("zsh"),
    }


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands that can be given."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for command in group.choices.values():
            yield from leaves(command)


def _completion(shell: str) -> str:
    parser = build_parser()
    for command in (parser, *leaves(parser)):
        for action in command._actions:
            if action.type is Path or action.metavar == "DIR":
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    script: str = shtab.complete(parser, shell)
    return script


def _manual() -> str:
    parser = build_parser()
    for command in leaves(parser):
        command.description = command.epilog  # the list of commands has just said the other
        command.formatter_class = _Wide
    page = Manpage(
        parser,
        format="single-commands-section",
        _data={
            "date": "",
            "project_name": "tpmconsole",
            "version": __version__,
            "manual_title": "tpmconsole manual",
            "description": "console of a board with a TPM 2.0",
        },
    )
    page.date = f"version {__version__}"
    for heading, entries in (
        ("exit status", {str(int(code)): text for code, text in EXIT_CODES.items()}),
        ("environment", ENVIRONMENT),
        ("files", FILES),
    ):
        page.add_section(heading, "=", "\n".join(map(_entry, entries, entries.values())))
    page.add_section("proof that a key is in a TPM", "=", FORMATS.replace("-", "\\-"))
    page.add_section("see also", "=", ".BR tpm2_getcap (1),\n.BR openssl (1),\n.BR swtpm (8)")
    return str(page).replace("POSITIONAL ARGUMENTS", "COMMANDS")


class _Wide(argparse.RawDescriptionHelpFormatter):
    """Leaves the breaking of lines to who shows the page."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_ONE_LINE)


def _entry(term: str, text: str) -> str:
    return f".TP\n.B {term}\n{text}".replace("-", "\\-")


def main() -> None:
    """Write them all."""
    for path, text in made().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
