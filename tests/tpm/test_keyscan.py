"""Looking for key files in folders."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import support.keys as samples

from tpmconsole.tpm.keyfile import LIMIT, parse
from tpmconsole.tpm.keyfile.scan import inspect, scan
from tpmconsole.tpm.model import KeyKind

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two keys, a damaged key, and files of other kinds."""
    (tmp_path / "b.pem").write_bytes(samples.OPENSSL_EC)
    (tmp_path / "a.pem").write_bytes(samples.PYTSS_EC)
    (tmp_path / "c.der").write_bytes(parse(samples.OPENSSL_EC).to_der())
    (tmp_path / "damaged").write_bytes(samples.OPENSSL_EC[:100])
    (tmp_path / "certificate.pem").write_bytes(CERTIFICATE)
    (tmp_path / "notes.txt").write_bytes(b"the TSS2 PRIVATE KEY of the gateway\n")
    (tmp_path / "empty").touch()
    return tmp_path


def names(paths: list[Path], **options: Any) -> list[tuple[str, str]]:
    found = scan(paths, **options)
    return [(Path(file.path).name, file.kind.value) for file in found]


def test_a_folder_answers_its_keys_by_name(folder: Path) -> None:
    assert names([folder]) == [
        ("a.pem", "loadable"),
        ("b.pem", "loadable"),
        ("c.der", "loadable"),
        ("damaged", "unreadable"),
    ]


def test_other_files_are_answered_on_request(folder: Path) -> None:
    others = [file for file in scan([folder], others=True) if file.kind == KeyKind.NOT_TSS2]
    assert [Path(file.path).name for file in others] == ["certificate.pem", "notes.txt"]
    assert others[0].reason == "it is a certificate"


def test_a_file_that_is_named_is_always_answered(folder: Path) -> None:
    paths = [folder / "certificate.pem", folder / "empty", folder / "absent", folder / "b.pem"]
    assert names(paths) == [
        ("certificate.pem", "not-tss2"),
        ("empty", "not-tss2"),
        ("absent", "unreadable"),
        ("b.pem", "loadable"),
    ]
    assert inspect(folder / "absent").reason == "No such file or directory"
    assert inspect(folder / "x\0y").kind == KeyKind.UNREADABLE


def test_sub_folders_only_as_deep_as_asked(tmp_path: Path) -> None:
    for name in ("web", "gateway"):
        (tmp_path / name / "old").mkdir(parents=True)
        (tmp_path / name / "key.pem").write_bytes(samples.OPENSSL_EC)
        (tmp_path / name / "certificate.pem").write_bytes(CERTIFICATE)
        (tmp_path / name / "old" / "key.pem").write_bytes(samples.OPENSSL_EC)
    assert list(scan([tmp_path])) == []
    found = [file.path for file in scan([tmp_path], depth=1)]
    assert found == [str(tmp_path / name / "key.pem") for name in ("gateway", "web")]
    assert len(list(scan([tmp_path], depth=2))) == 4


def test_keys_are_answered_as_they_are_read(folder: Path) -> None:
    answers = scan([folder])
    assert Path(next(answers).path).name == "a.pem"
    (folder / "b.pem").unlink()
    assert Path(next(answers).path).name == "c.der"


def test_links_lead_to_files_and_never_in_circles(folder: Path) -> None:
    (folder / "e-link").symlink_to(folder / "a.pem")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "nowhere").symlink_to(folder / "absent")
    (folder / "self").symlink_to(folder)
    found = [name for name, _ in names([folder], depth=50)]
    assert found == ["a.pem", "b.pem", "c.der", "damaged", "e-link"]
    assert names([folder / "self"]) == names([folder])
    assert inspect(folder / "loop").reason == "Too many levels of symbolic links"


def test_devices_fifos_and_sockets_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert list(scan([tmp_path], others=True)) == []
        for name in ("fifo", "zero", "socket"):
            assert inspect(tmp_path / name).reason == "it is not a regular file"


def test_no_more_is_read_than_a_key_can_have(tmp_path: Path) -> None:
    large = tmp_path / "large.pem"
    large.write_bytes(samples.OPENSSL_EC)
    os.truncate(large, LIMIT + 1)
    assert list(scan([tmp_path])) == []
    assert inspect(large).reason == f"it has {LIMIT + 1} bytes, more than {LIMIT}"
    os.truncate(large, LIMIT)
    assert inspect(large).kind == KeyKind.LOADABLE


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_may_be_a_key(folder: Path) -> None:
    (folder / "b.pem").chmod(0)
    assert [file.reason for file in scan([folder]) if file.path.endswith("b.pem")] == [
        "Permission denied"
    ]


def test_a_folder_that_cannot_be_read_is_answered(tmp_path: Path) -> None:
    tmp_path.joinpath("gone").mkdir()
    (tmp_path / "gone").rmdir()
    [found] = scan([tmp_path / "gone"])
    assert (found.kind, found.reason) == (KeyKind.UNREADABLE, "No such file or directory")


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/k\xff.pem"))
    path.write_bytes(samples.OPENSSL_EC)
    [found] = scan([tmp_path])
    assert os.fsencode(found.path) == os.fsencode(path)
    assert found.kind == KeyKind.LOADABLE
