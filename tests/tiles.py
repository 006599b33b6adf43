"""A picture in tiles, which are streams of their own, as phones write their photographs (HEIC, AVIF)."""

from __future__ import annotations

import struct
from pathlib import Path

from media import encode


def tiled_picture(path: Path, side: int = 64) -> Path:
    """Write an AVIF of two times two tiles of *side* pixels, as phones make their HEIC photographs."""

    def box(name: str, *parts: bytes) -> bytes:
        data = b"".join(parts)
        return struct.pack(">I", 8 + len(data)) + name.encode() + data

    def full(name: str, *parts: bytes, version: int = 0, flags: int = 0) -> bytes:
        return box(name, struct.pack(">I", version << 24 | flags), *parts)

    one = encode(path.with_name("tile.avif"), 1, (side, side), options=("-c:v", "libaom-av1", "-cpu-used", "8"))
    data = one.read_bytes()
    one.unlink()
    begin = data.index(b"av1C")
    coding = data[begin - 4 : begin - 4 + int.from_bytes(data[begin - 4 : begin], "big")]
    tile = data[data.index(b"mdat") + 4 :]
    tiles, grid, shape = range(1, 5), 5, struct.pack(">4BHH", 0, 0, 1, 1, 2 * side, 2 * side)
    sizes = [full("ispe", struct.pack(">II", each, each)) for each in (side, 2 * side)]
    owned = [struct.pack(">HB2B", each, 2, 0x81, 2) for each in tiles] + [struct.pack(">HBB", grid, 1, 3)]
    owned = full("ipma", struct.pack(">I", 5), *owned)
    names = [full("infe", struct.pack(">HH", each, 0) + b"av01\0", version=2, flags=1) for each in tiles]
    names.append(full("infe", struct.pack(">HH", grid, 0) + b"grid\0", version=2))

    def head(offset: int) -> bytes:
        places = [struct.pack(">4H2I", each, 0, 0, 1, offset, len(tile)) for each in tiles]
        places.append(struct.pack(">4H2I", grid, 1, 0, 1, 0, len(shape)))
        return box("ftyp", b"avif\0\0\0\0avifmif1miaf") + full(
            "meta",
            full("hdlr", b"\0\0\0\0pict" + bytes(13)),
            full("pitm", struct.pack(">H", grid)),
            full("iloc", b"\x44\0", struct.pack(">H", 5), *places, version=1),
            full("iinf", struct.pack(">H", 5), *names),
            box("iprp", box("ipco", coding, *sizes), owned),
            full("iref", box("dimg", struct.pack(">6H", grid, 4, *tiles))),
            box("idat", shape),
        )

    path.write_bytes(head(len(head(0)) + 8) + box("mdat", tile))
    return path
