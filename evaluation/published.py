"""Figures that others published, each with its place. They are shown beside ours, never mixed with them."""

from __future__ import annotations

import pandas as pd

TABLE_1_SOURCE = "Table 1 of the paper: 100 objects of Objaverse and Consistent4D, 512 x 512 pixels, one A100 GPU"
_TABLE_1 = [
    # method, PSNR, LPIPS, SSIM, CLIP, FVD, seconds
    ("Consistent4D", 16.20, 0.146, 0.880, 0.910, 935.19, "~1.5 h"),
    ("SC4D", 15.93, 0.164, 0.872, 0.870, 833.15, "~20 min"),
    ("STAG4D", 16.85, 0.144, 0.887, 0.893, 1008.40, "~1 h"),
    ("DreamGaussian4D", 15.24, 0.162, 0.868, 0.904, 799.56, "~15 min"),
    ("L4GM", 17.03, 0.128, 0.891, 0.930, 529.10, "3.5 s"),
    ("GVFDiffusion (the paper)", 18.47, 0.114, 0.901, 0.935, 476.83, "4.5 s"),
]


def table_1() -> pd.DataFrame:
    """The rows of the paper's Table 1, video to 4D."""
    return pd.DataFrame(_TABLE_1, columns=["method", "psnr", "lpips", "ssim", "clip", "fvd", "Time"])
