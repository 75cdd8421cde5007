"""PNG files by the chunk, with what no writer of pictures would write."""

import struct
import zlib

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6  # colour types


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(rows, depth, colour, *extra, after=b"", width=None, height=None):
    """A PNG of rows, each the bytes of its samples; `extra` are chunks before the pixels, `after` those behind.

    `width` and `height` may claim more than the rows hold.
    """
    width = width or len(rows[0]) * 8 // (depth * {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}[colour])
    header = struct.pack(">IIBBBBB", width, height or len(rows), depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(extra)
        + chunk(b"IDAT", pixels)
        + after
        + chunk(b"IEND", b"")
    )


def samples(*values):
    """Bytes of samples of 16 bits."""
    return struct.pack(f">{len(values)}H", *values)
