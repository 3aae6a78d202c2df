"""From a key in the TPM to what a CA signs: requests and their renewal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import ConsoleError, usage_error
from tpmconsole.system.files import PUBLIC_FILE, read_bounded, write_out
from tpmconsole.tpm.auth import NO_AUTH, Auth

if TYPE_CHECKING:  # cryptography loads when first used: the first paint is waiting
    from tpmconsole.board import Board
    from tpmconsole.identity.store import Identity
    from tpmconsole.system.disks import Disk
    from tpmconsole.x509.request import Line, RequestSpec
    from tpmconsole.x509.schemes import PublicKey

CERTIFICATE_BYTES = 1024 * 1024


class Provision:
    """The walk up to the CA.

    Args:
        board: whose identities they are for.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def default_spec(self, role: str = "client") -> RequestSpec:
        """What a new request asks for: the template of tpmconsole.toml, else a name for the board.

        Raises:
            ConsoleError: the template is no good.
        """
        from tpmconsole.system.hardware import host_name, serial_number
        from tpmconsole.x509.request_template import default_spec

        table = self._board.settings.options.get("request", {})
        if not isinstance(table, dict):
            raise usage_error(
                "Template not usable", "request in tpmconsole.toml is no table", "write [request]"
            )
        return default_spec(table, hostname=host_name(), serial=serial_number(), role=role)

    def last_spec(self, name: str) -> RequestSpec | None:
        """What the last request of an identity asked for; None before the first.

        Before the first of a key that was made for a renewal: what the renewal was to ask for.
        """
        from tpmconsole.identity.kept import kept_request
        from tpmconsole.x509.request import spec_of

        identity = self._board.identities.get(name)
        request = kept_request(identity)
        if request is not None:
            return spec_of(request)
        return None if identity.renews is None else self._wanted_of(identity.renews)

    def _wanted_of(self, name: str) -> RequestSpec | None:
        try:
            return self.renewal_spec(name)
        except ConsoleError:  # the identity has gone since, or is damaged
            return None

    def same_request(self, name: str, spec: RequestSpec) -> bytes | None:
        """The kept request's PEM, where it asks for the same with the identity's present key.

        Raises:
            ConsoleError: the subject or a name does not parse, or the TPM does not answer.
        """
        from tpmconsole.identity.kept import kept_request, unless_damaged
        from tpmconsole.x509.names import key_fingerprint
        from tpmconsole.x509.request import canonical, spec_of

        identity = self._board.identities.get(name)
        request = unless_damaged(lambda: kept_request(identity))
        if request is None or canonical(spec_of(request)) != canonical(spec):
            return None
        mine = key_fingerprint(self.public_key(identity))
        return self.request_pem(name) if key_fingerprint(request.public_key()) == mine else None

    def preview(self, name: str, spec: RequestSpec) -> list[Line]:
        """What a request would ask for, and how it would be signed; signs nothing.

        Raises:
            ConsoleError: the subject or a name does not parse.
        """
        from tpmconsole.x509.request import preview

        identity = self._board.identities.get(name)
        return preview(spec, self.public_key(identity), self.fixed_scheme(identity))

    def request(
        self,
        name: str,
        spec: RequestSpec,
        auth: Auth = NO_AUTH,
        out: Path | None = None,
    ) -> bytes:
        """Make the certificate signing request, signed in the TPM; returns its PEM.

        Args:
            out: also written here, and first: where that fails, the old request stays.

        Raises:
            ConsoleError: the subject or a name does not parse, the key's password is missing, or
                the TPM refused.
        """
        from cryptography.hazmat.primitives.serialization import Encoding

        from tpmconsole.x509.names import key_fingerprint
        from tpmconsole.x509.request import build

        identity = self._board.identities.get(name)
        with self._board.recording("request", identity=name, subject=spec.subject) as facts:
            identity.check_given(auth.key)
            key = self._board.tpm.private_key(self._board.source(identity), auth)
            facts["key"] = key_fingerprint(key.public_key())
            pem = build(key, spec, self.fixed_scheme(identity)).public_bytes(Encoding.PEM)
            if out is not None:
                write_out(out, pem, PUBLIC_FILE)
            self._board.identities.save_request(name, pem, spec.role)
        return pem

    def request_pem(self, name: str) -> bytes:
        """The request that is kept.

        Raises:
            ConsoleError: there is none, or it cannot be read.
        """
        return read_bounded(self._board.identities.get(name).request, CERTIFICATE_BYTES)

    def hand_over(self, name: str, out: Path, disk: Disk | None = None) -> None:
        """Write the request where its CA will get it, and wait until it is on the disk.

        Args:
            disk: the removable disk that ``out`` is on; it has to be there still.

        Raises:
            ConsoleError: it cannot be written there.
        """
        with self._board.recording("hand over", identity=name, file=str(out)):
            if disk is not None and not disk.path.is_mount():  # else it would land on the board
                raise ConsoleError(
                    "Disk is gone",
                    f"{disk.device} is no longer mounted at {disk.path}",
                    "plug it in and mount it again, then hand the request over",
                )
            write_out(out, self.request_pem(name), PUBLIC_FILE)

    def renew(
        self,
        name: str,
        auth: Auth = NO_AUTH,
        *,
        new_name: str | None = None,
        out: Path | None = None,
    ) -> bytes:
        """Ask for the certificate's names and role again: with the same key, or with a new one.

        A new key is a new identity with the same trust anchors; the old one stays as it is and goes
        on working until nobody needs it any more. Where making it was cut off after its key, the
        same call goes on from there.

        Args:
            new_name: the new identity with the new key; None keeps the key.
            auth: as in ``request``; a new key's password is no guess.
            out: as in ``request``.

        Returns:
            The request's PEM.

        Raises:
            ConsoleError: there is no certificate yet, the name is taken, or the TPM refused.
        """
        identity = self._board.identities.get(name)
        spec = self.renewal_spec(name)
        if new_name is None:
            return self.request(name, spec, auth, out)
        from tpmconsole.tpm.model import Algorithm, algorithm_words

        try:
            algorithm = Algorithm(identity.algorithm)
        except ValueError as error:
            what = algorithm_words(identity.algorithm)
            raise ConsoleError(
                "No such key to make",
                f"the key of '{name}' is {what}, which is not made here",
                f"make one: tpmconsole create {new_name}; then tpmconsole request {new_name}",
            ) from error
        if not self._was_cut_off(new_name, name):
            self._board.keyring.create(new_name, algorithm, auth, renews=name)
        if identity.has_trust:
            anchors = read_bounded(identity.trust, CERTIFICATE_BYTES)
            self._board.installer.add_anchors(new_name, anchors)
        return self.request(new_name, spec, replace(auth, spend_last_attempt=True), out)

    def _was_cut_off(self, new_name: str, name: str) -> bool:
        """Whether a renewal with a new key got no further than its key."""
        if new_name not in self._board.identities.names():
            return False
        new = self._board.identities.get(new_name)
        return new.renews == name and not new.has_request and not new.has_certificate

    def renewal_spec(self, name: str) -> RequestSpec:
        """What a renewal asks for: what the installed certificate says, whatever was asked since.

        Raises:
            ConsoleError: there is no certificate yet.
        """
        from tpmconsole.identity.kept import kept_certificate
        from tpmconsole.x509.request import spec_of

        certificate = kept_certificate(self._board.identities.get(name))
        if certificate is None:
            raise ConsoleError(
                "Nothing to renew",
                f"'{name}' has no certificate yet",
                f"run: tpmconsole request {name}; then import what your CA sends",
            )
        return spec_of(certificate)

    def public_key(self, identity: Identity) -> PublicKey:
        """An identity's public key."""
        from tpmconsole.x509.schemes import load_public_key

        return load_public_key(self._board.tpm.public_pem(self._board.source(identity)))

    def fixed_scheme(self, identity: Identity) -> str:
        """The only scheme that a key file allows; a handle's is not asked for: we made it free."""
        from tpmconsole.tpm import keyfile

        pem = identity.key_pem
        return "" if pem is None else keyfile.parse(pem).area.scheme
