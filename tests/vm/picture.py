# SPDX-License-Identifier: MIT
"""The computed pictures that guest-scanout shows (guest/guest.h defines them), PNG files, and what differs between the two."""

import struct
import zlib

# Linux's console palette: colours 0 to 7 of a text console
CONSOLE_COLORS = (0x000000, 0xAA0000, 0x00AA00, 0xAA5500, 0x0000AA, 0xAA00AA, 0x00AAAA, 0xAAAAAA)
CURSOR_SIZE = 64
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


class Image:
    """width x height pixels of 3 bytes: red, green, blue."""

    def __init__(self, width, height, rgb):
        if len(rgb) != width * height * 3:
            raise ValueError(f"{len(rgb)} bytes are no picture of {width}x{height}")
        self.width, self.height, self.rgb = width, height, rgb

    def pixel(self, x, y):
        at = (y * self.width + x) * 3
        return int.from_bytes(self.rgb[at:at + 3], "big")


def key(seed):
    return (seed * 0x9E3779B1 & 0xFFFFFFFF) >> 8


def color(x, y, seed):
    return key(seed) ^ ((x & 255) << 16 | (y & 255) << 8 | (x >> 8 & 15) | (y >> 8 & 15) << 4)


def picture(width, height, seed):
    """Picture number seed."""
    red, green, blue = key(seed).to_bytes(3, "big")
    reds = bytes(x & 255 ^ red for x in range(width))
    rgb = bytearray(width * height * 3)
    for y in range(height):
        row = bytearray(width * 3)
        row[0::3] = reds
        row[1::3] = bytes([y & 255 ^ green]) * width
        row[2::3] = bytes((x >> 8 & 15 | (y >> 8 & 15) << 4) ^ blue for x in range(width))
        rgb[y * width * 3:(y + 1) * width * 3] = row
    return Image(width, height, bytes(rgb))


def console(width, height, seed):
    """A text console of 8x16 cells, as picture_draw_console() fills it; what no cell covers is black."""
    columns, rows = width // 8, height // 16
    rgb = bytearray(width * height * 3)
    for row in range(rows):
        line = bytearray(width * 3)
        for column in range(columns):
            cell = CONSOLE_COLORS[(column + 3 * row + seed) % 8].to_bytes(3, "big") * 8
            line[column * 24:(column + 1) * 24] = cell
        rgb[row * 16 * width * 3:(row + 1) * 16 * width * 3] = line * 16
    return Image(width, height, bytes(rgb))


def moving(width, height, frame):
    """Frame number `frame` of what vitrine-guest's demo shows (src/guest/pattern.h)."""
    size = height // 5 + 1
    left, top = frame * 7 % (width + size), frame * 5 % (height + size)
    box = range(max(0, left - size), min(left, width))
    reds = bytes(x * 256 // width for x in range(width))
    rgb = bytearray(width * height * 3)
    for y in range(height):
        row = bytearray(width * 3)
        row[0::3] = reds
        row[1::3] = bytes([y * 256 // height]) * width
        row[2::3] = bytes((x * 5 + y * 3 + frame * 2) & 255 for x in range(width))
        if y + size >= top > y:
            row[box.start * 3:box.stop * 3] = b"\xf8" * (3 * len(box))
        if y < 8:  # the frame's number, a square of 4x4 for each bit
            for bit in range(16):
                row[bit * 12:bit * 12 + 12] = (b"\xff" if frame >> (y // 4 * 16 + bit) & 1 else b"\0") * 12
        rgb[y * width * 3:(y + 1) * width * 3] = row
    return Image(width, height, bytes(rgb))


def with_cursor(image, seed, left, top):
    """The image with guest-scanout's cursor on it, whose upper left corner is at left, top."""
    rgb = bytearray(image.rgb)
    for y in range(CURSOR_SIZE):
        for x in range(CURSOR_SIZE):
            inside = (32 - x if x < 32 else x - 31) + (32 - y if y < 32 else y - 31) <= 32
            if inside and 0 <= left + x < image.width and 0 <= top + y < image.height:
                at = ((top + y) * image.width + left + x) * 3
                rgb[at:at + 3] = color(x, y, seed).to_bytes(3, "big")
    return Image(image.width, image.height, bytes(rgb))


def demo_cursor(x, y):
    """A pixel of the cursor that vitrine-guest's demo shows (vtr_pattern_cursor()); None where it is transparent."""
    return x * 4 << 16 | y * 4 << 8 | 0x80 if (x // 4 + y // 4) % 2 else None


def with_demo_cursor(image, left, top):
    """The image with that cursor on it, whose upper left corner is at left, top."""
    rgb = bytearray(image.rgb)
    for y in range(max(0, -top), min(CURSOR_SIZE, image.height - top)):
        for x in range(max(0, -left), min(CURSOR_SIZE, image.width - left)):
            if (value := demo_cursor(x, y)) is not None:
                at = ((top + y) * image.width + left + x) * 3
                rgb[at:at + 3] = value.to_bytes(3, "big")
    return Image(image.width, image.height, bytes(rgb))


def _where_from(value, seed, width, height):
    """The place in picture `seed` that has this colour, or None."""
    value ^= key(seed)
    x = value >> 16 & 255 | (value & 15) << 8
    y = value >> 8 & 255 | (value >> 4 & 15) << 8
    return (x, y) if x < width and y < height else None


def difference(shown, expected, seed=None):
    """None when every pixel is equal; else what differs, in words. seed: of the expected picture, to tell where pixels came from."""
    if (shown.width, shown.height) != (expected.width, expected.height):
        return f"{shown.width}x{shown.height} are shown, {expected.width}x{expected.height} are expected"
    if shown.rgb == expected.rgb:
        return None
    stride = shown.width * 3
    rows = [y for y in range(shown.height) if shown.rgb[y * stride:(y + 1) * stride] != expected.rgb[y * stride:(y + 1) * stride]]
    wrong = [(x, y) for y in rows for x in range(shown.width) if shown.pixel(x, y) != expected.pixel(x, y)]
    x, y = wrong[0]
    text = (f"{len(wrong)} pixels in rows {rows[0]} to {rows[-1]} differ, the first at ({x}, {y}): "
            f"{shown.pixel(x, y):06x} is shown, {expected.pixel(x, y):06x} is expected")
    place = None if seed is None else _where_from(shown.pixel(x, y), seed, shown.width, shown.height)
    return f"{text}; the shown colour belongs at {place}" if place else text


def write_png(path, image, holes=()):
    """holes: pixels (x, y) that are transparent."""
    rows = bytearray()
    for y in range(image.height):
        row = image.rgb[y * image.width * 3:(y + 1) * image.width * 3]
        if holes:
            row = b"".join(row[3 * x:3 * x + 3] + (b"\0" if (x, y) in holes else b"\xff") for x in range(image.width))
        rows += b"\0" + row

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    with open(path, "wb") as file:
        file.write(PNG_MAGIC + chunk(b"IHDR", struct.pack(">IIBBBBB", image.width, image.height, 8, 6 if holes else 2, 0, 0, 0)) +
                   chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def _paeth(a, b, c):
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def _unfilter(kind, row, above, step):
    """Undoes PNG filter `kind` in place (PNG specification, section 9)."""
    if kind == 1:
        for i in range(step, len(row)):
            row[i] = row[i] + row[i - step] & 255
    elif kind == 2:
        row[:] = bytes(a + b & 255 for a, b in zip(row, above))
    elif kind == 3:
        for i in range(len(row)):
            row[i] = row[i] + ((row[i - step] if i >= step else 0) + above[i] >> 1) & 255
    elif kind == 4:
        for i in range(step):
            row[i] = row[i] + above[i] & 255
        for i in range(step, len(row)):
            row[i] = row[i] + _paeth(row[i - step], above[i], above[i - step]) & 255
    elif kind != 0:
        raise ValueError(f"PNG filter {kind}")


def read_png(path):
    """An 8-bit RGB or RGBA picture that is not interlaced; alpha is dropped."""
    with open(path, "rb") as file:
        data = file.read()
    if not data.startswith(PNG_MAGIC):
        raise ValueError(f"{path} is no PNG file")
    at, compressed, header = len(PNG_MAGIC), b"", None
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            compressed += body
        at += 12 + length
    width, height, depth, color_type, _, _, interlaced = header
    if depth != 8 or color_type not in (2, 6) or interlaced:
        raise ValueError(f"{path}: depth {depth}, colour type {color_type}, interlacing {interlaced} are not read here")
    step = 3 if color_type == 2 else 4
    filtered, stride = zlib.decompress(compressed), width * step
    above, rows = bytearray(stride), []
    for y in range(height):
        start = y * (stride + 1)
        row = bytearray(filtered[start + 1:start + 1 + stride])
        _unfilter(filtered[start], row, above, step)
        rows.append(row)
        above = row
    rgb = bytearray(b"".join(rows))
    if step == 4:
        del rgb[3::4]
    return Image(width, height, bytes(rgb))
