"""Password files: which users may read them, and the error if others can."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.passwords import write_password
from support.shell import Shell

from tpmconsole.cli.common import read_password
from tpmconsole.errors import ConsoleError
from tpmconsole.system.password_files import check_for_service

OTHER = 65_534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "it's secret"
    write_password(path, "correct horse\n")
    return path


def _refused(path: Path, read: Callable[[Path], object] = read_password) -> str:
    """The command that corrects it."""
    with pytest.raises(ConsoleError, match="Password file not private") as caught:
        read(path)
    return str(caught.value.remedy).removeprefix("run: ").partition(";")[0]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666, 0o601])
@pytest.mark.parametrize("read", [read_password, check_for_service])
@pytest.mark.attacks("a password file that others may use", "refused, with the remedy")
def test_others_may_neither_read_nor_write_it(
    secret: Path, mode: int, read: Callable[[Path], object]
) -> None:
    if read is check_for_service and os.geteuid() != 0:
        pytest.skip("for root")
    secret.chmod(mode)
    mend = _refused(secret, read)
    assert mend.startswith("chmod 600 ")
    os.system(mend)  # noqa: S605 - it is what the user is told to run
    read(secret)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_one_is_read_also_by_a_link(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    link = secret.with_name("link")
    link.symlink_to(secret)
    for path in (secret, link):
        password = read_password(path)
        assert password is not None
        assert bytes(password) == b"correct horse"


def test_a_link_hides_nothing(secret: Path) -> None:
    secret.chmod(0o644)
    link = secret.with_name("link")
    link.symlink_to(secret)
    assert _refused(link).startswith("chmod 600 ")


@as_root
@pytest.mark.parametrize("read", [read_password, check_for_service])
def test_it_belongs_to_nobody_else(secret: Path, read: Callable[[Path], object]) -> None:
    os.chown(secret, OTHER, OTHER)
    mend = _refused(secret, read)
    assert mend.startswith("chown root ")
    os.system(mend)  # noqa: S605 - it is what the user is told to run
    read(secret)


@as_root
def test_nobody_can_put_another_in_the_place_of_a_services(tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    write_password(folder / "file", "x\n")
    os.chown(folder, OTHER, OTHER)
    assert _refused(folder / "file", check_for_service) == f"chown -h root: {folder}"


def test_a_services_file_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConsoleError, match="File not read"):
        check_for_service(tmp_path / "missing")


def test_systemds_credentials_are_read(secret: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secret.parent))
    secret.chmod(0o440)
    assert read_password(secret) is not None
    secret.chmod(0o460)
    _refused(secret)


@pytest.mark.parametrize("kind", ["folder", "device", "socket"])
def test_it_is_a_file_or_a_pipe(tmp_path: Path, kind: str) -> None:
    paths = {"folder": tmp_path, "device": Path("/dev/zero"), "socket": tmp_path / "none"}
    with pytest.raises(ConsoleError, match="File not read"):
        read_password(paths[kind])


@pytest.mark.parametrize(
    "given", ["--password-file <(echo right)", "--password-file /dev/stdin", "--password-file -"]
)
def test_pipes_are_read(shell: Shell, given: str) -> None:
    command = f"{shell.python} -m tpmconsole --state {shell.state} --simulate create gw {given}"
    done = subprocess.run(
        ["/bin/bash", "-c", command],
        env=shell.environment,
        input="right\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    write_password(shell.state / "right", "right\n")
    key = str(shell.state / "identities/gw/key.pem")
    shell.simulate("keys", key, "--prove", "--password-file", str(shell.state / "right"))


def test_a_command_says_what_mends_it(shell: Shell) -> None:
    file = shell.state / "open"
    file.write_text("right\n")
    file.chmod(0o644)
    error = shell.refuse(1, "--simulate", "create", "gw", "--password-file", str(file))
    assert error["remedy"].startswith(f"run: chmod 600 {file}; ")
    assert shell.identities() == []
