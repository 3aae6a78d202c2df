"""Build the board's disk: Debian, then exactly what README.md tells a user to do.

``python -m emulated.build RELEASE`` as root. Existing parts are reused: the base as long as the
packages and the README's commands stay the same, the image as long as the project does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from emulated import readme

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
RELEASES = ("trixie", "bookworm")
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
IMAGE_MB = 1536
CONSOLE = "/opt/tpmconsole"
SOURCES = "/root/tpmconsole"
USERS = ("technician", "visitor")
_NO_SOURCES = (".*", "*.egg-info", "__pycache__", "build", "dist", "screenshots", "tests")
_APT = ("apt-get", "install", "-qq", "--no-install-recommends")
# Processes of its own, and /proc: systemctl looks there whether its system is running.
_AS_A_SYSTEM = (
    *("unshare", "--mount", "--pid", "--fork", "sh", "-c"),
    'root=$1; shift; mount -t proc proc "$root/proc" && chroot "$root" "$@"; exit $?',
    "sh",
)
_PASSED_ON = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_DEFAULT_TIMEOUT")


class Disk:
    """The files that a board of one release boots from.

    Args:
        release: ``trixie`` or ``bookworm``.
        folder: the folder of all boards; ``.board`` in the project by default.
    """

    def __init__(self, release: str, folder: Path = PROJECT / ".board") -> None:
        if release not in RELEASES:
            raise SystemExit(f"make board: RELEASE is one of {', '.join(RELEASES)}, not {release}")
        self.release = release
        self.folder = folder / release
        self.cache = folder / "packages"
        self.root = self.folder / "root"
        self.image = self.folder / "root.img"
        self.kernel = self.folder / "vmlinuz"
        self.initrd = self.folder / "initrd.img"
        self._commands = readme.installation(release)
        self._base_stamp = self.folder / "base.sha256"
        self._image_stamp = self.folder / "image.sha256"

    def ready(self) -> bool:
        """Whether the image matches the lists, the project and ``rootfs/`` as they are now."""
        return self._base_ready() and _read(self._image_stamp) == self._image_digest()

    def build(self) -> None:
        """Build what is missing or old.

        Raises:
            subprocess.CalledProcessError: a tool failed; it has printed the reason.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._base_ready():
            self._build_base()
        if not self.ready():
            self._build_image()
        # Built through sudo: the files beside the disk belong to the calling user.
        if "SUDO_UID" in os.environ:
            os.chown(self.folder, int(os.environ["SUDO_UID"]), int(os.environ["SUDO_GID"]))

    def _base_ready(self) -> bool:
        return _read(self._base_stamp) == self._base_digest()

    def _base_digest(self) -> str:
        files = (HERE / "packages.system", HERE / "packages.test")
        words = [*map(_read, files), *self._commands, *_dependencies()]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()

    def _image_digest(self) -> str:
        digest = hashlib.sha256(self._base_digest().encode())
        files = [PROJECT / "pyproject.toml", HERE / "build.py", *_files(HERE / "rootfs")]
        for path in [*files, *_files(PROJECT / "tpmconsole")]:
            digest.update(f"{path.relative_to(PROJECT)} {path.stat().st_mode}\n".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _build_base(self) -> None:
        """Install Debian, then the project as the README says, then what only the tests use."""
        _say(f"building Debian {self.release} in {self.root} (some minutes, once)")
        self._base_stamp.unlink(missing_ok=True)
        shutil.rmtree(self.root, ignore_errors=True)
        self.cache.mkdir(parents=True, exist_ok=True)
        include = ",".join(["ca-certificates", *_names(HERE / "packages.system")])
        _run(
            *("debootstrap", "--variant=minbase", f"--cache-dir={self.cache}"),
            *(f"--include={include}", self.release, str(self.root), MIRROR),
        )
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        if CERTIFICATES.exists():
            shutil.copy(CERTIFICATES, self.root / CERTIFICATES.relative_to("/"))
        # A user who follows the README answers by hand.
        (self.root / "etc/apt/apt.conf.d/yes").write_text('APT::Get::Assume-Yes "true";\n')
        for user in USERS:
            self._inside("useradd", "-M", "-s", "/bin/bash", user)
        before = self._megabytes()
        self._install()
        sizes = {
            "Debian's own packages on disk": before,
            "what the installation adds on disk": self._megabytes() - before,
        }
        (self.folder / "megabytes.json").write_text(json.dumps(sizes))
        self._inside(*_APT, *_names(HERE / "packages.test"))
        self._inside("apt-get", "clean")
        self._base_stamp.write_text(self._base_digest())

    def _install(self) -> None:
        """Run the README's commands, in a copy of the project."""
        self._copy_project()
        self._do(self._commands)
        self._inside("runuser", "-u", USERS[0], "--", "tpmconsole", "--help")
        self._inside(f"{CONSOLE}/bin/python", "-c", "import tpm2_pytss")

    def _do(self, commands: Iterable[str]) -> None:
        self._inside("sh", "-exc", "\n".join((f"cd {SOURCES}", *commands)))

    def _megabytes(self) -> int:
        """The size of the folder, without what apt fetched."""
        self._inside("apt-get", "clean")
        return sum(path.lstat().st_blocks for path in self.root.rglob("*")) >> 11

    def _build_image(self) -> None:
        """Copy the present project to the folder, and the folder to a disk image."""
        _say("installing the project, making the disk")
        self._image_stamp.unlink(missing_ok=True)
        digest = self._image_digest()
        shutil.copytree(HERE / "rootfs", self.root, dirs_exist_ok=True)
        self._inside("systemctl", "--quiet", "enable", "board-hands")
        self._copy_project()
        pip = (f"{CONSOLE}/bin/pip", "install", "--quiet", "--no-deps", "--force-reinstall")
        self._inside(*pip, SOURCES)
        self._do(line for line in self._commands if line.startswith("tpmconsole "))
        self._inside("update-initramfs", "-u")
        self._inside("touch", "/etc/.updated", "/var/.updated")  # no work at each boot
        (kernel,) = (self.root / "boot").glob("vmlinuz-*")
        (initrd,) = (self.root / "boot").glob("initrd.img-*")
        shutil.copy(kernel, self.kernel)
        shutil.copy(initrd, self.initrd)
        self.image.unlink(missing_ok=True)
        make_disk(self.image, IMAGE_MB, self.root)
        for path in (self.image, self.kernel, self.initrd):
            path.chmod(0o644)
        self._image_stamp.write_text(digest)

    def _copy_project(self) -> None:
        """Copy the project without earlier build results, which pip would take as sources."""
        copy = self.root / SOURCES.lstrip("/")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(PROJECT, copy, ignore=shutil.ignore_patterns(*_NO_SOURCES))

    def _inside(self, *command: str) -> None:
        """Run a command with the folder as its root; of our environment it gets the proxies."""
        environment = {
            "HOME": "/root",
            "PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "PIP_CERT": str(CERTIFICATES),
            "PIP_NO_CACHE_DIR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }
        environment |= {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        _run(*_AS_A_SYSTEM, str(self.root), *command, environment=environment)


def make_disk(path: Path, megabytes: int, content: Path | None = None) -> None:
    """Make an ext4 disk image, with the files of a folder if one is given.

    Raises:
        subprocess.CalledProcessError: mkfs failed; it has printed the reason.
    """
    with path.open("wb") as file:
        file.truncate(megabytes << 20)
    inside = ["-d", str(content)] if content else []
    _run("/sbin/mkfs.ext4", "-q", "-F", *inside, str(path))


def _run(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    try:
        subprocess.run(
            [str(word) for word in command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.stdout.decode(errors="replace")[-4000:])
        raise


def _say(text: str) -> None:
    print(f"board: {text}", flush=True)


def _names(path: Path) -> list[str]:
    lines = path.read_text().splitlines()
    return [name for line in lines if not line.startswith("#") for name in line.split()]


def _dependencies() -> list[str]:
    with (PROJECT / "pyproject.toml").open("rb") as file:
        found: list[str] = tomllib.load(file)["project"]["dependencies"]
    return found


def _files(folder: Path) -> Iterable[Path]:
    everything = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return (path for path in everything if "__pycache__" not in path.parts)


def _read(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text()
    return ""


def main(release: str) -> int:
    """Build one board.

    Returns:
        The exit code; errors have been printed.
    """
    try:
        Disk(release).build()
    except subprocess.CalledProcessError as error:
        print(f"board: {error.cmd[0]} ended with {error.returncode}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
