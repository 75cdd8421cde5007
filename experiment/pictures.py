"""Pictures under names that tell nothing: from memory, under an address of their own in every session."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Mapping

from experiment.study_folder import Picture, checked

MEDIA = {"png": "image/png", "jpg": "image/jpeg", "webp": "image/webp"}
MOST_BYTES = 64 << 20  # kept in memory


def address(secret: bytes, file: str) -> str:
    """The name of a picture in the session with this secret: 32 hex digits."""
    return hmac.digest(secret, file.encode(), hashlib.sha256).hex()[:32]


class Pictures:
    """Bytes of picture files, those used last in memory."""

    def __init__(self, pictures: Mapping[str, Picture], most_bytes: int = MOST_BYTES) -> None:
        self.of = pictures
        self.kept_bytes = 0
        self._most = most_bytes
        self._kept: OrderedDict[str, bytes] = OrderedDict()

    def kept(self, file: str) -> bytes | None:
        """A picture that is in memory."""
        data = self._kept.get(file)
        if data is not None:
            self._kept.move_to_end(file)
        return data

    def keep(self, file: str, data: bytes) -> None:
        """Keep a picture in memory; those not used for longest go."""
        if file in self._kept or len(data) > self._most:
            return
        self._kept[file] = data
        self.kept_bytes += len(data)
        while self.kept_bytes > self._most:
            self.kept_bytes -= len(self._kept.popitem(last=False)[1])

    def load(self, file: str) -> bytes:
        """A picture from the disk. Raises StudyError where it has changed."""
        return checked(self.of[file])

    def told(self, secret: bytes, file: str) -> dict[str, object]:
        """What a page is told of a picture: where it is, and how to see that it came whole."""
        picture = self.of[file]
        return {
            "src": f"/p/{address(secret, file)}",
            "bytes": picture.bytes,
            "sha256": picture.sha256,
            "width": picture.width,
            "height": picture.height,
        }


def media_type(file: str) -> str:
    return MEDIA[file.rsplit(".", 1)[1]]
