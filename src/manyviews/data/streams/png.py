"""PNG files without the texts that come with the pixels.

Pillow reads texts and colour profiles before the pixels, and refuses the file where one of them is
long or broken. None of them matters here.
"""

import io
from typing import BinaryIO

_START = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")


def without_texts(file: BinaryIO) -> BinaryIO | None:
    """The same file without texts and colour profile; None for no PNG, and for one without any."""
    file.seek(0)
    if file.read(8) != _START:
        return None
    kept, dropped = [_START], False
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], "big") + 4  # the checksum behind it
        if head[4:] in _TEXTS:
            file.seek(length, io.SEEK_CUR)
            dropped = True
        else:
            kept += [head, file.read(length)]
    return io.BytesIO(b"".join(kept)) if dropped else None
