"""What Pillow raises of a picture that it cannot read: damaged, too large, with too long a comment, or none at all."""

from __future__ import annotations

from PIL import Image

UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)
