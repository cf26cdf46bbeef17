"""The constants that ship, as plain numbers: written by ``python -m benchmarks.reference``, not by hand.

`numbasep.machine` says what each of them is.
"""

from __future__ import annotations

from typing import Any

STEPS: tuple[dict[str, float], ...] = (
    {
        "passes": 2.32e-05,
        "packed": 2.99e-10,
        "stored": 8.72e-13,
        "converted": 8.36e-13,
        "rows": 3.75e-08,
        "edges": 5.98e-09,
        "calls": 2.07e-07,
        "column_taps": 1.36e-11,
        "runs": 3.64e-11,
        "dense": 9.01e-11,
        "dense_taps": 9.69e-12,
        "dense_runs": 1.92e-11,
        "line_taps": 7.81e-11,
        "squares": 2.08e-10,
        "square_taps": 1.26e-11,
        "terms": 4.33e-11,
        "row_boxes": 4.24e-10,
        "column_boxes": 6.56e-10,
        "fused": 2.27e-10,
        "fused_rows": 1.51e-11,
        "fused_columns": 1.7e-11,
        "stripes": 1.04e-07,
        "turned": 1.75e-10,
        "turned_sums": 2.73e-10,
        "turned_rows": 1.33e-11,
        "turned_columns": 1.4e-11,
    },
    {
        "passes": 2.26e-05,
        "packed": 1.21e-09,
        "stored": 9.95e-13,
        "converted": 9.94e-13,
        "rows": 3.15e-08,
        "edges": 4.49e-09,
        "calls": 3.63e-07,
        "column_taps": 2.41e-11,
        "runs": 5.6e-11,
        "dense": 2.4e-10,
        "dense_taps": 1.86e-11,
        "dense_runs": 4.95e-11,
        "line_taps": 1.17e-10,
        "squares": 2.7e-10,
        "square_taps": 2.96e-11,
        "terms": 3.08e-10,
        "row_boxes": 5.28e-10,
        "column_boxes": 1.2e-09,
        "fused": 7.15e-10,
        "fused_rows": 3.24e-11,
        "fused_columns": 2.33e-11,
        "stripes": 1.41e-07,
        "turned": 3.29e-10,
        "turned_sums": 4.96e-10,
        "turned_rows": 3.24e-11,
        "turned_columns": 3.46e-11,
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
