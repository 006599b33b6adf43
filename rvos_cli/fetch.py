"""Download a named weights file into the user's folder.

Enters: a name, and a URL and sha256 where the manifest has none. Leaves: a file with the right sha256 under its final
name, or nothing. Stands behind ``rvos weights fetch`` only; nothing else of rvos uses the network.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable, Generator
from contextlib import closing
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from rvos_cli.errors import UsageError, WeightsError
from rvos_cli.manifest import WeightsEntry, check_name, find_entry, register_weights, user_folder
from rvos_cli.version import __version__
from rvos_cli.weights_file import read_config, sha256_of
from rvos_cli.whole_files import writing_beside

Progress = Callable[[int, "int | None"], None]  # bytes so far, bytes in all where the server tells
_SIZE_LIMIT = 8 << 30
_TIMEOUT = 30.0  # seconds without a byte


class _OnlyHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        _check_url(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch_weights(
    name: str, url: str | None = None, *, sha256: str | None = None, progress: Progress | None = None
) -> WeightsEntry:
    """Download the weights called *name* and return their entry; nothing is done where they are there already.

    Args:
        name: a name of the manifest, or a new one with *url* and *sha256*.
        url: where the file lies, https only; None takes the manifest's.
        sha256: of the file, 64 hexadecimal digits; the manifest's counts where it has one.
        progress: called with the bytes so far and in all.

    Raises:
        UsageError: *name*, *url* or *sha256* cannot be one, or one that is needed is not given.
        WeightsError: the download fails, is not the expected file, or would replace other weights.
        OutputError: the user's folder cannot be written.
    """
    known = find_entry(check_name(name))
    if known is not None:
        name, url = known.name, url or known.url
        if sha256 is not None and sha256.lower() != known.sha256:
            raise WeightsError(f"the name '{name}' is taken by other weights", cure="choose another name")
        sha256 = known.sha256
        if known.present and sha256_of(known.path) == sha256:
            return known
    if not url:
        raise UsageError(f"no download address is known for '{name}'", cure="give one: --url https://...")
    if sha256 is None:
        raise UsageError("a download needs the sha256 of the file", cure="give it: --sha256 HEX")
    if not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise UsageError(f"'{sha256}' is no sha256", cure="give its 64 hexadecimal digits")
    _check_url(url)
    path = user_folder() / f"{name}.safetensors"
    with writing_beside(path) as temporary:
        _download(url, temporary, progress)
        if sha256_of(temporary) != sha256.lower():
            raise WeightsError(f"the file at {url} is not the expected one: its sha256 differs", cure="try again later")
        read_config(temporary)
    told = known or WeightsEntry(name=name, file=path.name, sha256=sha256, bytes=0)
    return register_weights(path, name=name, license=told.license, summary=told.summary, url=url)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        url.encode("ascii")
        (parts.hostname or "").encode("idna")  # as it is looked up: no part may be empty or too long
    except ValueError as error:  # UnicodeError is one
        raise UsageError(
            f"'{url}' is no web address", cure="give an https:// address, letters beyond ASCII as %XX"
        ) from error
    if parts.scheme != "https" or not parts.hostname:
        raise UsageError(f"weights are fetched over https only, not from '{url}'", cure="give an https:// address")


def _open(url: str) -> Any:
    """Open *url*; a function of its own, so that tests can stand in for the network."""
    request = urllib.request.Request(url, headers={"User-Agent": f"rvos/{__version__}"})
    return urllib.request.build_opener(_OnlyHttps).open(request, timeout=_TIMEOUT)


def _opened(url: str) -> Any:
    try:
        return _open(url)
    except ValueError as error:  # a server may send on to anything
        raise HTTPException(str(error)) from error


def _download(url: str, path: Path, progress: Progress | None) -> None:
    done = 0
    with closing(_pieces(url)) as pieces, path.open("wb") as file:
        for piece, total in pieces:
            file.write(piece)
            done += len(piece)
            if progress is not None:
                progress(done, total)


def _pieces(url: str) -> Generator[tuple[bytes, int | None], None, None]:
    """Yield what lies at *url*, each piece with the bytes in all; only what the network refuses is blamed on it."""
    try:
        with _opened(url) as answer:
            length = answer.headers.get("Content-Length")
            total = int(length) if length and length.isdigit() else None
            done = 0
            while piece := answer.read(1 << 20):
                done += len(piece)
                if done > _SIZE_LIMIT:
                    raise WeightsError(
                        f"the file at {url} is larger than {_SIZE_LIMIT >> 30} GiB", cure="check the address"
                    )
                yield piece, total
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise WeightsError(f"cannot fetch {url} ({reason})", cure="check the address and the connection") from error
    if total is not None and done < total:
        raise WeightsError(f"the download of {url} broke off at {done} of {total} bytes", cure="try again")
