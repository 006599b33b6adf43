"""Make the demo clip: a fire engine, a pelican and a heron cross a mountain meadow.

Enters: a folder with two unpacked Debian packages (CREDITS.md names the photographs and their licences):

    apt-get download tuxpaint-stamps-default lomiri-wallpapers-16.04
    for deb in *.deb; do dpkg -x "$deb" packages; done
    python examples/make_demo.py packages

Leaves: examples/demo/ with demo.mp4, first_mask.png (1 fire engine, 2 pelican, 3 heron) and, in truth/, the true
masks of every 20th frame and the last. Everything that moves is computed from the time, so each run gives the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import atan, cos, degrees, exp, pi, radians, sin
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy.ndimage import gaussian_filter, gaussian_filter1d

from rvos_cli.masks import write_indexed_png

STAMPS = Path("usr/share/tuxpaint/stamps")
MEADOW = Path("usr/share/backgrounds/aitzgorri_by_Aitzol_Berasategi.jpg")
FIRE_ENGINE = STAMPS / "vehicles/emergency/firetruck.png"
PELICAN = STAMPS / "animals/birds/pelican.png"
HERON = STAMPS / "animals/birds/heron_greatblue_flying.png"

WIDTH, HEIGHT, RATE, SECONDS = 640, 360, 25, 5
FRAMES = RATE * SECONDS
SCALE = 2  # drawn at twice the size and averaged down
SHUTTER = (0.0, 0.125, 0.25, 0.375, 0.5)  # moments of one frame that are averaged: a 180 degree shutter
CORNER = (24, 50)  # of the frame in the meadow, in frame pixels
PHOTO_SCALE = 4.5  # photo pixels per frame pixel
TRUTH_EVERY = 20

Array = np.ndarray


# ---- cut-outs ------------------------------------------------------------------------------------------------------


def load_cutout(path: Path, *, contrast: float, haze: float) -> Array:
    """Read an RGBA photograph as premultiplied (H, W, 4) float32 in 0..1, without the pale rim of its old background.

    *haze* mixes in the colour of the air, as for things far away.
    """
    image = np.asarray(Image.open(path).convert("RGBA"), np.float32) / 255
    alpha = np.pad(np.clip((image[..., 3] - 0.35) / 0.6, 0, 1), 8)
    colour = np.pad(image[..., :3], ((8, 8), (8, 8), (0, 0)))
    core = gaussian_filter(alpha, 1.2) > 0.93
    near = np.stack([gaussian_filter(colour[..., c] * core, 2) for c in range(3)], -1)
    inner = near / np.maximum(gaussian_filter(core.astype(np.float32), 2), 1e-3)[..., None]
    known = np.clip(gaussian_filter(core.astype(np.float32), 2) * 40, 0, 1)[..., None] * ~core[..., None]
    colour = colour * (1 - known) + inner * known
    colour = np.clip(0.5 + (colour - 0.5) * contrast, 0, 1) * (1 - haze) + np.float32((0.74, 0.78, 0.84)) * haze
    return np.dstack([colour * alpha[..., None], alpha]).astype(np.float32)


def flap(sprite: Array, hinge: float, stretch: float, *, above: bool) -> Array:
    """Stretch the wing above or below the row at *hinge* (a fraction of the height) as a beating wing seems to."""
    height = sprite.shape[0]
    pad = height // 3
    rows = np.arange(-pad, height + pad, dtype=np.float32)
    line = hinge * height
    wing = rows < line if above else rows > line
    source = np.where(wing, line + (rows - line) / stretch, rows)
    padded = np.pad(sprite, ((1, 1), (0, 0), (0, 0)))
    source = np.clip(source + 1, 0, height + 1)
    low = np.minimum(source.astype(int), height)
    share = (source - low)[:, None, None]
    return padded[low] * (1 - share) + padded[low + 1] * share


def roll_wheels(sprite: Array, angle: float) -> Array:
    """Turn the hubs of the fire engine by *angle* radians, each in its own ellipse (the wheels are seen at a slant)."""
    sprite = sprite.copy()
    for x, y, rx, ry in ((369.0, 281.5, 27.0, 34.0), (695.0, 246.0, 15.0, 26.0)):
        rows, columns = np.mgrid[int(y - ry) : int(y + ry) + 2, int(x - rx) : int(x + rx) + 2]
        u, v = (columns - x) / rx, (rows - y) / ry
        su, sv = cos(angle) * u - sin(angle) * v, sin(angle) * u + cos(angle) * v
        sx, sy = su * rx + x, sv * ry + y
        low_x, low_y = sx.astype(int), sy.astype(int)
        fx, fy = (sx - low_x)[..., None], (sy - low_y)[..., None]
        top = sprite[low_y, low_x] * (1 - fx) + sprite[low_y, low_x + 1] * fx
        bottom = sprite[low_y + 1, low_x] * (1 - fx) + sprite[low_y + 1, low_x + 1] * fx
        inside = np.clip((1 - np.hypot(u, v)) * 8, 0, 1)[..., None]
        hub = sprite[rows, columns]
        sprite[rows, columns] = hub * (1 - inside) + (top * (1 - fy) + bottom * fy) * inside
    return sprite


# ---- geometry ------------------------------------------------------------------------------------------------------


def similarity(x: float, y: float, scale: float, turn: float, anchor: tuple[float, float]) -> Array:
    """Return the 3x3 matrix that scales, turns (degrees, clockwise) about *anchor* and then puts *anchor* at (x, y)."""
    c, s = scale * cos(radians(turn)), scale * sin(radians(turn))
    ax, ay = anchor
    return np.array([[c, -s, x - c * ax + s * ay], [s, c, y - s * ax - c * ay], [0, 0, 1]])


def camera(t: float) -> Array:
    """Return scene -> picture for a camera held by hand that slowly draws nearer."""
    zoom_in = 1.0 + 0.05 * t / SECONDS
    x = 320 + 5 * sin(1.1 * t) + 1.3 * sin(3.7 * t + 1)
    y = 180 + 3 * sin(0.9 * t + 2) + 1.0 * sin(4.3 * t)
    return similarity(x * SCALE, y * SCALE, zoom_in * SCALE, 0.35 * sin(1.3 * t + 0.5), (320, 180))


@dataclass
class Actor:
    """One moving object: its picture and its place in the scene at a time."""

    number: int
    picture: Callable[[float], Array]
    place: Callable[[float], Array]


def ground_line(x: float) -> float:
    """Return the height of the fire engine's track in the scene; it runs towards the camera, to the left."""
    return 318 - 0.144 * (x - 200)


def make_actors(packages: Path) -> tuple[Actor, Actor, Actor]:
    """Return the fire engine, the pelican and the heron."""
    engine = load_cutout(packages / FIRE_ENGINE, contrast=0.93, haze=0.03)
    pelican = load_cutout(packages / PELICAN, contrast=0.93, haze=0.05)
    heron = load_cutout(packages / HERON, contrast=0.9, haze=0.1)

    def travel(t: float) -> float:
        return 55 * t + t * t

    def engine_place(t: float) -> Array:
        x = 470 - travel(t)
        jolt = 0.8 * sin(9 * t) * sin(2.3 * t)
        pitch = 0.35 * sin(7 * t + 1) * sin(1.7 * t)
        return similarity(x, ground_line(x) + 2 + jolt, 0.30 + 0.012 * t, pitch, (358, 338))

    def pelican_place(t: float) -> Array:
        dip = 108 * exp(-(((t - 2.5) / 1.3) ** 2))
        slope = -2 * (t - 2.5) / 1.3**2 * dip / 98
        y = 146 + dip - 2.5 * sin(2 * pi * 1.25 * t)
        return similarity(84 + 98 * t, y, 0.37, 0.55 * degrees(atan(slope)), (145, 133))

    def heron_place(t: float) -> Array:
        y = 66 - 16 * sin(0.8 * t) + 1.8 * sin(2 * pi * 0.8 * t)
        return similarity(258 + 42 * t, y, 0.37 - 0.008 * t, -3 + 4 * sin(0.9 * t), (158, 68))

    return (
        Actor(1, lambda t: roll_wheels(engine, travel(t) / 18), engine_place),
        Actor(
            2,
            lambda t: flap(pelican, 0.46, 0.84 + 0.24 * sin(2 * pi * 1.25 * t), above=True),
            lambda t: pelican_place(t) @ similarity(0, 0, 1, 0, (0, (201 + 16) // 3)),
        ),
        Actor(
            3,
            lambda t: flap(heron, 0.34, 0.80 + 0.22 * sin(2 * pi * 0.8 * t), above=False),
            lambda t: heron_place(t) @ similarity(0, 0, 1, 0, (0, (168 + 16) // 3)),
        ),
    )


# ---- the scene -----------------------------------------------------------------------------------------------------


def warp(picture: Array, matrix: Array) -> Array:
    """Return *picture* (h, w, C) in 0..1 seen through *matrix* (picture -> drawing) as (H, W, C) float32."""
    inverse = np.linalg.inv(matrix)
    size = (WIDTH * SCALE, HEIGHT * SCALE)
    stored = Image.fromarray(np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8).squeeze())
    seen = stored.transform(size, Image.Transform.AFFINE, tuple(inverse[:2].ravel()), Image.Resampling.BICUBIC)
    result = np.asarray(seen, np.float32) / 255
    return result if result.ndim == 3 else result[..., None]


class Scene:
    """The meadow with everything on it; ``draw`` gives one moment."""

    def __init__(self, packages: Path) -> None:
        """Read the photographs below *packages*."""
        photo = Image.open(packages / MEADOW).convert("RGB")
        factor = SCALE / PHOTO_SCALE
        photo = photo.resize((round(photo.width * factor), round(photo.height * factor)), Image.Resampling.LANCZOS)
        self.meadow = np.asarray(photo, np.float32) / 255
        self.actors = make_actors(packages)
        self.grass = self._grass_blades()
        self.shadow = self._engine_shadow()

    def _grass_blades(self) -> Array:
        """Return (h, w, 1): 1 where grass stands before the wheels."""
        random = np.random.default_rng(7)
        height, width = self.meadow.shape[:2]
        tops = np.zeros(width)
        columns = np.arange(width)
        for _ in range(width * 2):
            centre, half, tall = random.uniform(0, width), random.uniform(1, 2.5), random.gamma(3, 1.5)
            tops = np.maximum(tops, tall * np.clip(1 - np.abs(columns - centre) / half, 0, 1))
        line = np.array([ground_line(x / SCALE - CORNER[0]) + CORNER[1] for x in columns]) * SCALE - tops
        return np.clip(np.arange(height)[:, None] - line + 0.5, 0, 1)[..., None].astype(np.float32)

    def _engine_shadow(self) -> Array:
        """Return (h, w, 1): how much light the fire engine takes from the ground, in its own pixels, 80 more below."""
        shade = Image.new("L", (816 + 160, 347 + 160))
        under = [(108, 378), (288, 398), (388, 425), (473, 425), (778, 380), (878, 345), (860, 325), (488, 330)]
        ImageDraw.Draw(shade).polygon(under, fill=255)
        wide = np.asarray(shade.filter(ImageFilter.GaussianBlur(22)), np.float32)
        tight = np.asarray(shade.filter(ImageFilter.GaussianBlur(7)), np.float32)
        return ((0.45 * wide + 0.5 * tight) / 255)[..., None]

    def draw(self, t: float) -> tuple[Array, Array]:
        """Return the picture (h, w, 3) and what is seen of each object (h, w, 3), both 0..1, at time *t*."""
        view = camera(t)
        engine, pelican, heron = self.actors
        to_scene = similarity(-CORNER[0], -CORNER[1], 1 / SCALE, 0, (0, 0))
        picture = warp(self.meadow, view @ to_scene)
        engine_at = view @ engine.place(t)
        picture = picture * (1 - warp(self.shadow, engine_at @ similarity(0, 0, 1, 0, (80, 80))))
        ground, seen = picture, np.zeros_like(picture)
        for actor in (pelican, engine, heron):
            layer = warp(actor.picture(t), view @ actor.place(t))
            alpha = layer[..., 3:]
            picture = picture * (1 - alpha) + layer[..., :3]
            seen = seen * (1 - alpha)
            seen[..., actor.number - 1 : actor.number] += alpha
            if actor is engine:
                grass = warp(self.grass, view @ to_scene)
                picture, seen = picture * (1 - grass) + ground * grass, seen * (1 - grass)
        return picture, seen

    def frame(self, index: int) -> tuple[Array, Array]:
        """Return the image (H, W, 3) and the true labels (H, W), both uint8, of a frame."""
        moments = [self.draw((index + part) / RATE) for part in SHUTTER]
        picture, seen = (np.mean([moment[i] for moment in moments], 0) for i in (0, 1))
        picture, seen = (x.reshape(HEIGHT, SCALE, WIDTH, SCALE, 3).mean((1, 3)) for x in (picture, seen))
        labels = np.where(seen.max(-1) >= 0.5, seen.argmax(-1) + 1, 0)
        return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8), labels.astype(np.uint8)


# ---- the sound -----------------------------------------------------------------------------------------------------


def sound(rate: int = 48000) -> Array:
    """Return (2, samples) float32: a plucked melody over a soft chord, wind, and the engine that comes near."""
    t = np.arange(SECONDS * rate) / rate
    random = np.random.default_rng(3)
    left, right = np.zeros_like(t), np.zeros_like(t)
    notes = (62, 69, 74, 78, 76, 69, 71, 78, 81, 78, 76, 74)  # D major, MIDI numbers
    for i, note in enumerate(notes):
        age = t - 0.2 - 0.36 * i
        pitch = 440 * 2 ** ((note - 69) / 12)
        tone = sum(np.exp(-age * (2.2 + 2.5 * k)) * np.sin(2 * pi * pitch * k * age) / k**1.6 for k in (1, 2, 3, 4))
        tone = np.where(age > 0, tone * np.clip(age / 0.004, 0, 1), 0) * 0.16
        side = 0.5 + 0.3 * sin(1.9 * i)
        left, right = left + tone * (1 - side), right + tone * side
    swell = np.sin(pi * t / SECONDS) ** 0.7
    for note, side in ((50, 0.4), (57, 0.6), (66, 0.45)):
        pitch = 440 * 2 ** ((note - 69) / 12)
        tone = 0.03 * swell * (np.sin(2 * pi * pitch * t) + 0.5 * np.sin(2 * pi * pitch * 1.003 * t))
        left, right = left + tone * (1 - side), right + tone * side
    wind = gaussian_filter1d(random.standard_normal((2, t.size)), 30, axis=1)
    gusts = 0.035 * swell * (1 + 0.5 * np.sin(1.7 * t))
    turns = 46 * t + 0.6 * t * t
    motor = sum(np.sin(2 * pi * turns * k + k) / k for k in (1, 2, 3, 5)) * 0.012 * (0.5 + t / SECONDS)
    mixed = np.stack([left, right]) + gusts * wind * 6 + motor
    edges = np.clip(np.minimum(t / 0.05, (SECONDS - t) / 0.5), 0, 1)
    return np.tanh(mixed * edges * 3.2).astype(np.float32)


# ---- writing -------------------------------------------------------------------------------------------------------


def write_clip(path: Path, images: Iterator[Array]) -> None:
    """Write H.264 and AAC with the plain settings that every browser plays."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as out:
        video = out.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"crf": "19", "preset": "veryslow", "threads": "1"}
        audio = out.add_stream("aac", rate=48000, layout="stereo")
        audio.bit_rate = 96000
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        samples = sound()
        for start in range(0, samples.shape[1], 1024):
            piece = np.ascontiguousarray(samples[:, start : start + 1024])
            part = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
            part.sample_rate, part.pts, part.time_base = 48000, start, Fraction(1, 48000)
            out.mux(audio.encode(part))
        out.mux(audio.encode())


def main() -> None:
    """Read the command line and make the clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", type=Path, help="folder into which the packages were unpacked")
    parser.add_argument("-o", "--output", type=Path, default=Path(__file__).parent / "demo")
    arguments = parser.parse_args()
    folder: Path = arguments.output
    (folder / "truth").mkdir(parents=True, exist_ok=True)
    scene = Scene(arguments.packages)

    def images() -> Iterator[Array]:
        for index in range(FRAMES):
            image, labels = scene.frame(index)
            if index == 0:
                write_indexed_png(folder / "first_mask.png", labels)
            if index % TRUTH_EVERY == 0 or index == FRAMES - 1:
                write_indexed_png(folder / "truth" / f"{index:05d}.png", labels)
            yield image

    write_clip(folder / "demo.mp4", images())


if __name__ == "__main__":
    main()
