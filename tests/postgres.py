"""A real Postgres server for tests: own cluster in a temporary folder, on a free loopback port.

Needs the server's programs on this machine (in PATH or in the usual package folders). Postgres
refuses to run as root, so under root it runs as the user `postgres` or `nobody`.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

USER = "verivote"
EPHEMERAL_FROM = 32_768
"""From here on Linux hands out ports by itself."""


def find_programs() -> Path | None:
    """Folder of the newest server that has both `initdb` and `pg_ctl`."""
    packaged = Path("/usr/lib/postgresql").glob("*/bin")
    newest = sorted(packaged, key=lambda p: float(p.parent.name), reverse=True)
    on_path = shutil.which("initdb")
    folders = [*newest, *([Path(on_path).parent] if on_path else [])]
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


def free_port() -> int:
    """A port where nobody listens, and that nobody is given who asks the system for any.

    Tests run side by side: a port that the system picked could be another one's a moment later.
    """
    while True:
        port = random.SystemRandom().randrange(10_000, EPHEMERAL_FROM)  # whatever seeds are set
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port


class Server:
    """One cluster that can be stopped and started again."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self.port = free_port()
        self._programs = programs
        self._folder = folder
        self._account = _unprivileged_account()

    def create(self) -> None:
        if self._account is not None:
            os.chown(self._folder, self._account.pw_uid, self._account.pw_gid)
        data = self._folder / "data"
        self._run("initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        with (data / "postgresql.conf").open("a") as conf:
            conf.write(f"listen_addresses = '127.0.0.1'\nport = {self.port}\n")
            conf.write(f"unix_socket_directories = '{self._folder}'\nfsync = off\n")
            conf.write("max_connections = 50\nshared_buffers = 16MB\n")

    def start(self) -> None:
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-l", log, "-w", "start")

    def stop(self, how: str = "fast") -> None:
        """`fast` keeps all data, `immediate` is for a server that is deleted next."""
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", how, "-w", "stop")

    def new_database(self, encoding: str = "UTF8") -> str:
        """URL of a new empty database."""
        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self._dsn("postgres"), autocommit=True) as connection:
            form = f"TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
            connection.execute(f"CREATE DATABASE {name} {form}".encode())
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"

    def empty(self, url: str) -> str:
        """The same database with nothing in it: far fewer files than a new one."""
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return url

    def _dsn(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        """Output goes to a file: a pipe would be held open by the server that `pg_ctl` starts."""
        account = self._account
        with (self._folder / f"{program}.out").open("a+") as output:
            done = subprocess.run(
                [str(self._programs / program), *arguments],
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                cwd=self._folder,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self._folder)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=120,
                check=False,
            )
            output.seek(0)
            assert done.returncode == 0, f"{program} failed:\n{output.read()[-2000:]}"


@contextmanager
def running_server() -> Iterator[Server]:
    """A started server, stopped and deleted at the end. Needs `find_programs()`."""
    programs = find_programs()
    assert programs is not None, "no Postgres programs on this machine"
    # Not pytest's own folder: it is closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="verivote-pg-"))
    server = Server(programs, folder)
    try:
        server.create()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)


def _unprivileged_account() -> pwd.struct_passwd | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise AssertionError("running as root and there is neither a user postgres nor nobody")
