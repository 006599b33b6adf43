"""Weights from the network: whole and as expected, or not at all."""

from __future__ import annotations

import errno
import io
import urllib.request
from email.message import Message
from http.client import HTTPMessage
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from rvos_cli import fetch
from rvos_cli.config import ModelConfig
from rvos_cli.errors import OutputError, UsageError, WeightsError
from rvos_cli.weights import (
    fetch_weights,
    list_weights,
    load_weights,
    register_weights,
    save_weights,
    user_folder,
)

CONFIG = ModelConfig(trunk="resnet34", hidden_size=8, mask_input=False, slots=3, key_dim=0)


class Answer(io.BytesIO):
    """What a server sends."""

    def __init__(self, data: bytes, length: int | None = None) -> None:
        super().__init__(data)
        self.headers = {"Content-Length": str(len(data) if length is None else length)}


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, str]:
    digest = save_weights(tmp_path / "remote" / "big.safetensors", CONFIG, {"x": torch.arange(9.0)})
    data = (tmp_path / "remote" / "big.safetensors").read_bytes()
    monkeypatch.setattr(fetch, "_open", lambda url: Answer(data))
    return data, digest


URL = "https://weights.example/big.safetensors"


def test_a_fetched_file_gets_its_name_once_its_sha256_is_right(remote: tuple[bytes, str]) -> None:
    told: list[tuple[int, int | None]] = []
    entry = fetch_weights("big", URL, sha256=remote[1].upper(), progress=lambda done, total: told.append((done, total)))
    assert entry.path.read_bytes() == remote[0] and told[-1] == (len(remote[0]), len(remote[0]))
    assert load_weights("big").sha256 == remote[1]


def test_a_fetch_of_the_manifest_needs_no_more_than_the_name(
    remote: tuple[bytes, str], shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shipped / "big.safetensors").write_bytes(remote[0])
    register_weights(shipped / "big.safetensors", url=URL, summary="more accurate")
    (shipped / "big.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"'big' is missing: .*; rvos weights fetch big"):
        load_weights("big")
    assert fetch_weights("big").summary == "more accurate"
    assert load_weights("big").sha256 == remote[1]
    assert [entry.name for entry in list_weights()] == ["lite", "big"]
    monkeypatch.setattr(fetch, "_open", lambda url: pytest.fail("fetched again"))
    fetch_weights("big")


def test_a_fetch_that_fails_leaves_nothing_behind(remote: tuple[bytes, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="its sha256 differs"):
        fetch_weights("big", URL, sha256="0" * 64)
    monkeypatch.setattr(fetch, "_open", lambda url: Answer(remote[0][:50], len(remote[0])))
    with pytest.raises(WeightsError, match="broke off at 50 of"):
        fetch_weights("big", URL, sha256=remote[1])

    def unreachable(url: str) -> Answer:
        raise URLError("name or service not known")

    def sends_on_to_nowhere(url: str) -> Answer:
        raise ValueError("Invalid IPv6 URL")

    monkeypatch.setattr(fetch, "_open", unreachable)
    with pytest.raises(WeightsError, match=r"cannot fetch https://.* \(name or service not known\); check the address"):
        fetch_weights("big", URL, sha256=remote[1])
    monkeypatch.setattr(fetch, "_open", sends_on_to_nowhere)
    with pytest.raises(WeightsError, match=r"cannot fetch https://.* \(Invalid IPv6 URL\)"):
        fetch_weights("big", URL, sha256=remote[1])
    assert not list(user_folder().iterdir())


def test_a_full_disk_is_not_blamed_on_the_network(remote: tuple[bytes, str], monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, mode="r", **named: Full() if mode == "wb" else opened(path, mode))
    with pytest.raises(OutputError, match=r"big.safetensors cannot be written \(No space left on device\)"):
        fetch_weights("big", URL, sha256=remote[1])


def test_a_fetch_says_what_it_needs(shipped: Path) -> None:
    for arguments, line in [
        (("big",), "no download address is known for 'big'; give one"),
        (("big", URL), "needs the sha256"),
        (("big", "http://weights.example/x", "0" * 64), "over https only"),
        (("big", "file:///etc/passwd", "0" * 64), "over https only"),
        (("big", "https://[", "0" * 64), "no web address; give an https"),
        (("big", "https://./x", "0" * 64), "no web address"),
        (("big", f"https://{'x' * 64}.example/x", "0" * 64), "no web address"),
        (("big", "https://weights.example/gew-\u00fc.safetensors", "0" * 64), "no web address; .* as %XX"),
        (("big", URL, "12"), "is no sha256"),
        (("../big", URL, "0" * 64), "cannot name weights; use letters, digits, '.', '_' and '-'$"),
    ]:
        with pytest.raises(UsageError, match=line):
            fetch_weights(*arguments[:2], sha256=arguments[2] if len(arguments) > 2 else None)
    with pytest.raises(WeightsError, match="the name 'lite' is taken by other weights"):
        fetch_weights("lite", URL, sha256="0" * 64)


def test_a_redirect_cannot_leave_https() -> None:
    request = urllib.request.Request(URL)
    handler = fetch._OnlyHttps()
    with pytest.raises(UsageError, match="over https only"):
        handler.redirect_request(
            request, io.BytesIO(), 302, "Found", HTTPMessage(Message().policy), "http://x.example/"
        )
    onward = handler.redirect_request(request, io.BytesIO(), 302, "Found", HTTPMessage(), "https://x.example/")
    assert onward is not None and onward.full_url == "https://x.example/"
