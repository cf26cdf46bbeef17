"""The constants that ship, as plain numbers: written by ``python -m benchmarks.reference``, not by hand.

`numbasep.machine` says what each of them is.
"""

from __future__ import annotations

from typing import Any

STEPS: tuple[dict[str, float], ...] = (
    {
        "passes": 2.28e-05,
        "packed": 3.36e-10,
        "stored": 8.91e-13,
        "converted": 8.38e-13,
        "rows": 3.83e-08,
        "edges": 6.14e-09,
        "calls": 1.91e-07,
        "column_taps": 1.36e-11,
        "runs": 3.77e-11,
        "dense": 9.06e-11,
        "dense_taps": 9.86e-12,
        "dense_runs": 2.21e-11,
        "line_taps": 8.47e-11,
        "squares": 1.89e-10,
        "square_taps": 1.26e-11,
        "terms": 4.44e-11,
        "row_boxes": 3.92e-10,
        "column_boxes": 7.12e-10,
        "fused": 2.3e-10,
        "fused_rows": 1.54e-11,
        "fused_columns": 1.85e-11,
        "stripes": 9.15e-08,
        "turned": 1.96e-10,
        "turned_sums": 2.42e-10,
        "turned_rows": 1.38e-11,
        "turned_columns": 1.45e-11,
    },
    {
        "passes": 2.27e-05,
        "packed": 1.23e-09,
        "stored": 1.04e-12,
        "converted": 1.04e-12,
        "rows": 3.35e-08,
        "edges": 4.07e-09,
        "calls": 3.48e-07,
        "column_taps": 2.49e-11,
        "runs": 6.04e-11,
        "dense": 2.61e-10,
        "dense_taps": 1.9e-11,
        "dense_runs": 6.12e-11,
        "line_taps": 1.36e-10,
        "squares": 2.77e-10,
        "square_taps": 3.17e-11,
        "terms": 3.35e-10,
        "row_boxes": 5.25e-10,
        "column_boxes": 1.29e-09,
        "fused": 7.25e-10,
        "fused_rows": 3.71e-11,
        "fused_columns": 2.2e-11,
        "stripes": 9.28e-08,
        "turned": 3.7e-10,
        "turned_sums": 5.32e-10,
        "turned_rows": 3.31e-11,
        "turned_columns": 3.65e-11,
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
            (8000000.0, 50000000000.0),
            (30000000.0, 32000000000.0),
            (130000000.0, 30000000000.0),
        ),
        (
            (1000000.0, 900000000000.0),
            (8000000.0, 60000000000.0),
            (30000000.0, 36000000000.0),
            (130000000.0, 34000000000.0),
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
