"""ICC profiles, as cameras, screens and presses embed them in pictures: built by the bytes, as ICC.1:2001-04 lays them out."""

import struct

import numpy as np
from PIL import ImageCms

# colorants (columns) adapted to D50, as the profiles of these spaces hold them
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
P3 = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
GAMMA = 2.19921875
BUILT_IN = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
D50 = (0.9642, 1.0, 0.8249)


def _fixed(value):
    return struct.pack(">i", round(value * 65536))


def _xyz(values):
    return b"XYZ \0\0\0\0" + b"".join(_fixed(value) for value in values)


def _curve(gamma):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def _description(name):
    text = name.encode("ascii") + b"\0"
    content = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    return content + bytes(-len(content) % 4)


def _profile(space, kind, name, tags, pcs=b"XYZ "):
    tags = {b"desc": _description(name), b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": _xyz(D50), **tags}
    start, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        table += tag + struct.pack(">II", start + len(body), len(content))
        body += content
    header = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02100000, kind, space, pcs)
    header += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + b"".join(_fixed(value) for value in D50)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def rgb(colorants, gamma=GAMMA, name="a screen"):
    """Profile of a space with these colorants and one gamma for all."""
    tags = {}
    for index, letter in enumerate(b"rgb"):
        tags[bytes([letter]) + b"XYZ"] = _xyz(colorants[:, index])
        tags[bytes([letter]) + b"TRC"] = _curve(gamma)
    return _profile(b"RGB ", b"mntr", name, tags)


def grey(gamma=1.0, name="a scanner"):
    return _profile(b"GRAY", b"scnr", name, {b"kTRC": _curve(gamma)})


def inks(levels, name="a press"):
    """Profile of a press: lightness L* (0 to 100) of each of the 16 full coverages, black the fastest; all of them grey."""
    nodes = b"".join(bytes([round(level * 2.55), 128, 128]) for level in levels)
    ramp = bytes(range(256))
    identity = b"".join(_fixed(value) for value in np.eye(3).ravel())
    table = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + nodes + ramp * 3
    return _profile(b"CMYK", b"prtr", name, {b"A2B0": table + bytes(-len(table) % 4)}, pcs=b"Lab ")


def to_srgb(pixels, colorants, gamma=GAMMA):
    """What pixels of such a space are in sRGB, by the arithmetic of the two standards."""
    light = (np.asarray(pixels) / 255.0) ** gamma @ (np.linalg.inv(SRGB) @ colorants).T
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
