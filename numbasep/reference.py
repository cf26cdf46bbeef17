"""The constants that ship, as plain numbers: written by ``python -m benchmarks.reference``, not by hand.

`numbasep.machine` says what each of them is.
"""

from __future__ import annotations

from typing import Any

STEPS: tuple[dict[str, float], ...] = (
    {
        "passes": 2.17e-05,
        "packed": 2.46e-10,
        "stored": 8.12e-13,
        "converted": 7.97e-13,
        "rows": 3.51e-08,
        "edges": 6.36e-09,
        "calls": 2.16e-07,
        "column_taps": 1.35e-11,
        "runs": 3.37e-11,
        "dense": 8.4e-11,
        "dense_taps": 9.7e-12,
        "dense_runs": 1.62e-11,
        "line_taps": 6.99e-11,
        "squares": 2.21e-10,
        "square_taps": 1.14e-11,
        "terms": 4.05e-11,
        "row_boxes": 4.2e-10,
        "column_boxes": 5.7e-10,
        "fused": 2.29e-10,
        "fused_rows": 1.47e-11,
        "fused_columns": 1.74e-11,
        "stripes": 1.09e-07,
        "turned": 1.49e-10,
        "turned_sums": 2.35e-10,
        "turned_rows": 1.29e-11,
        "turned_columns": 1.27e-11,
    },
    {
        "passes": 2.09e-05,
        "packed": 1.02e-09,
        "stored": 9.11e-13,
        "converted": 9.11e-13,
        "rows": 2.67e-08,
        "edges": 5.25e-09,
        "calls": 3.63e-07,
        "column_taps": 2.2e-11,
        "runs": 5.01e-11,
        "dense": 2.15e-10,
        "dense_taps": 2.32e-11,
        "dense_runs": 4.27e-11,
        "line_taps": 9.67e-11,
        "squares": 2.51e-10,
        "square_taps": 2.63e-11,
        "terms": 2.74e-10,
        "row_boxes": 4.9e-10,
        "column_boxes": 1.09e-09,
        "fused": 6.62e-10,
        "fused_rows": 2.98e-11,
        "fused_columns": 2.37e-11,
        "stripes": 1.86e-07,
        "turned": 2.8e-10,
        "turned_sums": 4.05e-10,
        "turned_rows": 3.16e-11,
        "turned_columns": 3.08e-11,
    },
)

FIELDS: dict[str, Any] = {
    "name": "reference (x86-64 with AVX-512, 2 cores)",
    "threads": 2,
    "fuses": True,
    "lanes": (16.0, 8.0),
    "call_seconds": 6.06e-06,
    "thread_seconds": 4e-05,
    "recursion_seconds": (1.19e-09, 2.42e-09),
    "check_call_seconds": 3.01e-06,
    "check_seconds": (1.3e-10, 4e-10),
    "copy_rate": (
        (
            (1000000.0, 200000000000.0),
            (4000000.0, 45000000000.0),
            (8000000.0, 22000000000.0),
            (130000000.0, 19000000000.0),
        ),
        (
            (1000000.0, 400000000000.0),
            (4000000.0, 80000000000.0),
            (8000000.0, 36000000000.0),
            (130000000.0, 25000000000.0),
        ),
    ),
    "stream_rate": (
        (
            (1000000.0, 500000000000.0),
            (8000000.0, 200000000000.0),
            (30000000.0, 90000000000.0),
            (130000000.0, 60000000000.0),
        ),
        (
            (1000000.0, 900000000000.0),
            (8000000.0, 250000000000.0),
            (30000000.0, 100000000000.0),
            (130000000.0, 80000000000.0),
        ),
    ),
    "fft_seconds": (
        (
            (4096, 1.1e-08),
            (16384, 7.6e-09),
            (65536, 7.1e-09),
            (147456, 8e-09),
            (262144, 9.2e-09),
            (1048576, 1.5e-08),
        ),
        (
            (4096, 1.6e-08),
            (16384, 1.2e-08),
            (65536, 1.25e-08),
            (147456, 1.5e-08),
            (262144, 1.7e-08),
            (1048576, 2.7e-08),
        ),
    ),
    "fft_pixel_seconds": 1.2e-09,
    "fft_converted_seconds": 3.5e-09,
    "fft_call_seconds": 6e-05,
    "fft_thread_seconds": 0.001,
}
