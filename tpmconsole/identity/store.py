"""Identities on the disk: one private folder each, complete at every moment.

A power cut at any point leaves the old state or the new one. A new identity is a complete folder
that gets its name by one rename; a file in it is replaced by one rename too. A name that begins
with a dot is unfinished work, not an identity.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tpmconsole.errors import Action, ConsoleError, NextStep
from tpmconsole.identity.attestation import Attestation
from tpmconsole.identity.identity import (
    NAME,
    Identity,
    check_name,
    handle_line,
    previous,
    read_identity,
    read_record,
)
from tpmconsole.identity.pin import Pin
from tpmconsole.identity.record import Record, format_record
from tpmconsole.identity.rollback import go_back, keep_previous
from tpmconsole.system.files import (
    cannot_write,
    make_private_folder,
    remove,
    remove_folder,
    remove_leftovers,
    sync_folder,
    temporary_folder,
    write_atomic,
)
from tpmconsole.system.locks import FileLock
from tpmconsole.text import natural

if TYPE_CHECKING:  # cryptography loads when a certificate is read; listing does not need it
    from cryptography import x509

LOCK_S = 2.0
_NAMES_SHOWN = 10

__all__ = ["Identity", "IdentityStore", "check_name"]


class IdentityStore:
    """The identities below one folder.

    Any number of processes may use it at once.

    Args:
        root: ``identities`` in the state directory; created with the first identity.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """The identities' names, in natural order: ``pump-2`` before ``pump-10``."""
        try:
            with os.scandir(self.root) as entries:
                folders = [one.name for one in entries if one.is_dir(follow_symlinks=False)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _not_read(self.root, error.strerror or str(error)) from error
        return sorted((name for name in folders if NAME.fullmatch(name)), key=natural)

    def all(self) -> list[Identity]:
        """Every identity; a damaged one says so in ``problem``."""
        return [read_identity(self.root / name) for name in self.names()]

    def get(self, name: str) -> Identity:
        """One identity.

        Raises:
            ConsoleError: there is no identity of that name, or we cannot read its folder.
        """
        check_name(name)
        names = self.names()
        if name not in names:
            known = ", ".join(names[:_NAMES_SHOWN]) or "there is none yet"
            raise ConsoleError(
                "Unknown identity",
                f"there is no identity '{name}'",
                NextStep(Action.CREATE, name, f"use an existing one ({known}), or make it: {{}}"),
            )
        found = read_identity(self.root / name)
        if found.closed:
            raise _not_read(found.folder, "Permission denied")
        return found

    def reserve(self, name: str) -> None:
        """Check early whether an identity of that name can be made; keeps nothing.

        Raises:
            ConsoleError: the name is not usable or taken, or nothing can be written here.
        """
        check_name(name)
        make_private_folder(self.root)
        if self._taken(name):
            raise _name_taken(name)
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise cannot_write(self.root, _not_writable(self.root))

    def create(  # noqa: PLR0913 - all that is known about a new key, each optional part named
        self,
        name: str,
        *,
        key_pem: bytes | None,
        handle: int | None,
        algorithm: str,
        auth: str,
        origin: str = "tpm",
        pin: Pin | None = None,
        renews: str | None = None,
        now: datetime | None = None,
    ) -> Identity:
        """Keep a new key as an identity: all of it, or nothing.

        Args:
            key_pem: the TSS2 key file; None if the key is at a handle.
            handle: the persistent handle; None if the key is a file.
            origin: ``imported`` if the key existed outside the TPM, ``adopted`` if it was at the
                handle already.
            pin: identifies the key; it is recorded only here.
            renews: the identity whose certificate the key is made to renew.
            now: when it was made; by default the clock's time.

        Raises:
            ConsoleError: the name is not usable or taken, or nothing can be written here.
        """
        if (key_pem is None) == (handle is None):
            raise ValueError("an identity has a key file or a handle, and not both")
        check_name(name)
        make_private_folder(self.root)
        remove_leftovers(self.root)
        created = (now or datetime.now(UTC)).isoformat(timespec="seconds")
        record = Record(
            name,
            algorithm,
            created,
            auth,
            origin=origin,
            renews=renews,
            key_name=None if pin is None else pin.name,
            key_sha256=None if pin is None else pin.sha256,
        )
        try:
            with temporary_folder(self.root / name) as folder:
                write_atomic(folder / "identity.toml", format_record(record))
                if key_pem is not None:
                    write_atomic(folder / "key.pem", key_pem)
                if handle is not None:
                    write_atomic(folder / "key.handle", handle_line(handle))
                self._give_name(folder, name)
        except OSError as error:
            raise cannot_write(self.root, error) from error
        return self.get(name)

    def save_request(self, name: str, pem: bytes, role: str, handed_to: str | None = None) -> None:
        """Keep the certificate signing request and its role.

        Args:
            handed_to: where it was handed over already; None if it was not.

        Raises:
            ConsoleError: the identity is unknown or in use, or cannot be written.
        """
        with self._changing(name) as identity:
            # The role first: a request must never be kept with another request's role.
            record = replace(read_record(identity.folder)[0], role=role)
            _save_record(identity, _handed_over(record, handed_to))
            write_atomic(identity.request, pem)

    def save_handed(self, name: str, where: str) -> None:
        """Remember that the request was handed over now.

        Args:
            where: such as "written to /media/stick/gateway.csr".

        Raises:
            ConsoleError: the identity is unknown or in use, or cannot be written.
        """
        with self._changing(name) as identity:
            _save_record(identity, _handed_over(read_record(identity.folder)[0], where))

    def install(
        self,
        name: str,
        chain_pem: bytes,
        trust_pem: bytes | None,
        attested: tuple[Attestation, str] | None = None,
    ) -> None:
        """Put a certificate in place, and keep the previous one beside it.

        The trust anchors are written before the certificate: after a power cut between the two the
        old certificate is still in place, and a new one is never there without its anchors.

        Args:
            chain_pem: leaf first, then intermediates.
            trust_pem: the trust anchors; None keeps the present ones.
            attested: how the key proved for it that it is in a TPM, and the certificate's
                fingerprint: the proof says nothing about another certificate.

        Raises:
            ConsoleError: the identity is unknown or in use, or cannot be written.
        """
        with self._changing(name) as identity:
            keep_previous(identity, chain_pem)
            if attested is not None:
                proof, certificate = attested
                self._write_record(
                    identity,
                    attested=proof.when,
                    attested_chip=proof.chip,
                    attested_endorsement=proof.endorsement,
                    attested_certificate=certificate,
                )
            if trust_pem is not None:
                write_atomic(identity.trust, trust_pem)
            write_atomic(identity.certificate, chain_pem)

    def add_anchors(self, name: str, anchors: Sequence[x509.Certificate]) -> None:
        """Trust more CAs, even after an import has been undone.

        Raises:
            ConsoleError: the identity is unknown or in use, or cannot be written.
        """
        from tpmconsole.identity.trust_file import add_anchors

        with self._changing(name) as identity:
            kept = previous(identity.trust)
            for path in (kept, identity.trust) if kept.is_file() else (identity.trust,):
                add_anchors(path, anchors)

    def drop_anchor(self, name: str, sha256: str) -> None:
        """Remove a trust anchor, even from what undoing an import would restore.

        Args:
            sha256: its fingerprint, 64 lower-case hexadecimal digits.

        Raises:
            ConsoleError: the identity is unknown or in use, or cannot be read or written.
        """
        from tpmconsole.identity.trust_file import drop_anchor

        with self._changing(name) as identity:
            for path in (previous(identity.trust), identity.trust):
                drop_anchor(path, sha256)

    def undo_install(self, name: str) -> Identity:
        """Restore the certificate and trust anchors before the last ``install``; works once.

        Raises:
            ConsoleError: no earlier ones were kept, or the identity is in use.
        """
        with self._changing(name) as identity:
            go_back(identity)
        return self.get(name)

    def move_to_handle(self, name: str, handle: int) -> Identity:
        """Use the persistent key at ``handle`` from now on; the key file is removed.

        Raises:
            ConsoleError: the identity is unknown, in use or at another handle already, or cannot be
                written.
        """
        with self._changing(name) as identity:
            if identity.handle not in (None, handle):  # another console was faster
                raise moved_before(name, identity.handle)
            # If both exist after a power cut, the handle counts; both are the same key.
            write_atomic(identity.folder / "key.handle", handle_line(handle))
            remove(identity.folder / "key.pem")
        return self.get(name)

    def remove(self, name: str) -> None:
        """Remove an identity with all its files: all of it, or nothing.

        Raises:
            ConsoleError: the identity is unknown or in use, or cannot be removed.
        """
        with self._changing(name) as identity:
            try:
                remove_folder(identity.folder)
            except OSError as error:
                raise cannot_write(identity.folder, error) from error

    def trust_certificates(self, name: str) -> list[x509.Certificate]:
        """The trust anchors of an identity; may be empty.

        Raises:
            ConsoleError: the identity is unknown, or trust.pem is damaged.
        """
        from tpmconsole.identity.trust_file import kept_anchors

        return kept_anchors(self.get(name).trust)

    def _taken(self, name: str) -> bool:
        path = self.root / name
        try:
            return any(path.iterdir())  # an empty folder is not an identity: a rename replaces it
        except FileNotFoundError:
            return False
        except OSError:  # a file, or a folder that we cannot read
            return True

    def _give_name(self, folder: Path, name: str) -> None:
        """Rename a complete folder to its name; of several processes exactly one succeeds."""
        try:
            sync_folder(folder)
            # Replaces an empty folder, fails on any other: rename(2).
            folder.rename(self.root / name)
            sync_folder(self.root)
        except OSError as error:
            if self._taken(name):
                raise _name_taken(name) from error
            raise cannot_write(self.root / name, error) from error

    def _write_record(self, identity: Identity, **changes: str) -> None:
        record, _ = read_record(identity.folder)
        _save_record(identity, replace(record, **changes))

    @contextmanager
    def _changing(self, name: str) -> Iterator[Identity]:
        """Lock an identity, so that no other process changes it meanwhile.

        Raises:
            ConsoleError: there is none, or another process is still changing it after two seconds.
        """
        folder = self.get(name).folder
        try:
            lock = FileLock.on_folder(folder)
        except OSError as error:
            raise cannot_write(folder, error) from error
        with lock:
            lock.take(_in_use(name), LOCK_S)
            remove_leftovers(folder)
            yield read_identity(folder)


def _save_record(identity: Identity, record: Record) -> None:
    write_atomic(identity.folder / "identity.toml", format_record(record))


def _handed_over(record: Record, where: str | None) -> Record:
    when = None if where is None else datetime.now(UTC).isoformat(timespec="seconds")
    return replace(record, handed_to=where, handed_at=when)


def _not_read(folder: Path, why: str) -> ConsoleError:
    return ConsoleError(
        "Identities not read",
        f"{folder}: {why}",
        NextStep(
            Action.GIVE_STATE,
            text="run as the user that owns the state directory, or give another: {}",
        ),
    )


def _not_writable(folder: Path) -> OSError:
    read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    number = errno.EROFS if read_only else errno.EACCES
    return OSError(number, os.strerror(number))


def moved_before(name: str, handle: int) -> ConsoleError:
    """The refusal to move a key that is in the TPM already: it cannot come out again."""
    return ConsoleError(
        "Not moved",
        f"the key of '{name}' is already at 0x{handle:08x}, and its key file is gone",
        "leave it there; for another handle, make a new key as a new identity",
    )


def _in_use(name: str) -> ConsoleError:
    return ConsoleError(
        "Identity is in use",
        f"another process is changing '{name}'",
        "wait until it has finished, then try again",
    )


def _name_taken(name: str) -> ConsoleError:
    return ConsoleError(
        "Name is taken",
        f"there is an identity '{name}' already",
        "choose another name; tpmconsole never replaces a key",
    )
