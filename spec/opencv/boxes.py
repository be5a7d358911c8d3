"""MaxBoxAcc's boxes by OpenCV's contours: argv: maps (raw uint8), height, width, known boxes "x0,y0,x1,y1;...".
For every map two lines: the best overlap at levels 0..255 of the largest outline, of all outlines."""
import sys

import cv2
import numpy as np


def overlap(a, b):
    def area(x0, y0, x1, y1):
        return max(0, x1 - x0 + 1) * max(0, y1 - y0 + 1)
    both = area(max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3]))
    return both / (area(*a) + area(*b) - both)


def order(contour):
    """The largest area first; of equals the one whose first pixel comes first."""
    y, x = min((int(p[0][1]), int(p[0][0])) for p in contour)
    return -cv2.contourArea(contour), y, x


path, h, w = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
known = [tuple(map(int, box.split(","))) for box in sys.argv[4].split(";")]
maps = np.fromfile(path, np.uint8).reshape(-1, h, w)
for image in maps:
    curves = [], []
    for level in range(256):
        binary = cv2.threshold(image, level, 255, cv2.THRESH_BINARY)[1]
        outlines = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[-2]
        outlines = sorted(outlines, key=order)
        boxes = []
        for outline in outlines:
            x, y, bw, bh = cv2.boundingRect(outline)
            boxes.append((x, y, min(x + bw, w - 1), min(y + bh, h - 1)))
        boxes = boxes or [(0, 0, 0, 0)]
        curves[0].append(max(overlap(boxes[0], k) for k in known))
        curves[1].append(max(overlap(b, k) for b in boxes for k in known))
    for curve in curves:
        print(*("%.9g" % v for v in curve))
