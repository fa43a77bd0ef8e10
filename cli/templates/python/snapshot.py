"""What componentize-py makes a component of: the tool, and then what loading left behind is wiped.

The whole memory of the interpreter becomes part of the component, free memory as well. Most of that holds what
compiling the modules left there: zeros are not written into the component, so 3 MB of it go.
"""

import gc
import random  # componentize-py wants it; what is loaded after this is not wiped

from {{module}} import Tool

BYTES_HEADER = 17  # of an object of bytes, and the zero at its end
SMALL_BYTES_MAX = 512  # objects up to this are kept by their size, in steps of 16
LARGE_BYTES_MAX = 1 << 20


def _wipe():
    """Fills every free block with zeros, the largest first, until memory beyond its end is given out."""
    gc.collect()
    filled = []
    end = id(bytes(2 * LARGE_BYTES_MAX))

    def fill(size):
        filled.append(bytes(size))
        while id(filled[-1]) < end:
            filled.append(bytes(size))

    size = LARGE_BYTES_MAX
    while size > SMALL_BYTES_MAX:
        fill(size)
        size //= 2
    for size in range(SMALL_BYTES_MAX, 64, -16):
        fill(size - BYTES_HEADER)


_wipe()
gc.collect()
