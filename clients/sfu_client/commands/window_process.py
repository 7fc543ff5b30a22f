"""A window in a process of its own, run as a script: pictures come on standard input.

OpenCV's windows may hang in a process that has loaded PyAV, so this one never imports it. Each picture is
a header of two little-endian 32-bit numbers, width and height, and its BGR bytes. Exit status 3 says that
this OpenCV has no windows, 4 that there is none.
"""

import struct
import sys

NO_WINDOWS = 3
NO_OPENCV = 4
HEADER = struct.Struct("<II")


def main() -> int:
    try:
        import cv2
    except ImportError:
        return NO_OPENCV
    import numpy as np

    title = sys.argv[1]
    stream = sys.stdin.buffer
    try:
        cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    except cv2.error:
        return NO_WINDOWS
    shown = False
    while len(header := stream.read(HEADER.size)) == HEADER.size:
        width, height = HEADER.unpack(header)
        data = stream.read(width * height * 3)
        if len(data) < width * height * 3:
            break
        if not shown:
            cv2.resizeWindow(title, width, height)
            shown = True
        cv2.imshow(title, np.frombuffer(data, np.uint8).reshape(height, width, 3))
        if cv2.waitKey(1) in (27, ord("q")) or cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
