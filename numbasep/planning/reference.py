"""Shipped constants of machines, written by ``python -m benchmarks.reference``.

The fields are those of `numbasep.planning.machine.Machine`; each has an entry for each vector width.
"""

from typing import Any

WIDTHS = (64, 32)  # bytes of a vector, in the order of all entries
STEPS: dict[str, tuple[tuple[float, float], ...]] = {
    "passes": ((2.87e-05, 3.58e-05), (3.28e-05, 2.4e-05)),
    "packed": ((4.6e-11, 1.33e-10), (6.33e-11, 1.41e-10)),
    "converted": ((5.52e-11, 1.26e-10), (3.63e-11, 9.42e-11)),
    "widened": ((2.35e-12, 5.34e-12), (6.8e-12, 1.53e-11)),
    "stored": ((1.01e-11, 2.02e-11), (9.65e-12, 1.99e-11)),
    "rounded": ((1.2e-11, 2.5e-11), (9.92e-12, 2.4e-11)),
    "apart": ((6.17e-11, 3.22e-10), (9.27e-10, 1.21e-09)),
    "rows": ((2.38e-08, 1.83e-08), (2.82e-08, 2.74e-08)),
    "edges": ((2.06e-09, 1.58e-09), (2.39e-09, 1.94e-09)),
    "far": ((1.69e-11, 3.33e-11), (2.04e-11, 4.02e-11)),
    "calls": ((1.31e-07, 1.31e-07), (8.79e-08, 8.79e-08)),
    "column_taps": ((1.13e-11, 2.26e-11), (1.34e-11, 2.67e-11)),
    "runs": ((3.17e-11, 6.3e-11), (1.86e-11, 3.73e-11)),
    "line_taps": ((7.06e-11, 1.42e-10), (8.36e-11, 1.67e-10)),
    "squares": ((1.58e-10, 3.17e-10), (9.32e-11, 1.86e-10)),
    "square_taps": ((1.06e-11, 2.12e-11), (1.24e-11, 2.47e-11)),
    "terms": ((3.71e-11, 7.42e-11), (2.18e-11, 4.37e-11)),
    "row_boxes": ((3.29e-10, 6.55e-10), (1.93e-10, 3.87e-10)),
    "column_boxes": ((5.94e-10, 1.19e-09), (3.52e-10, 7.04e-10)),
    "dense_blocks": ((1.05e-07, 9.44e-08), (5.31e-08, 6.69e-08)),
    "dense_rows": ((9.62e-09, 8.16e-09), (1.78e-08, 1.55e-08)),
    "dense_ends": ((5.39e-10, 5e-10), (6.89e-10, 7.98e-10)),
    "dense": ((5.04e-11, 1.32e-10), (8.52e-11, 1.75e-10)),
    "dense_taps": ((1.64e-11, 3.4e-11), (2e-11, 3.86e-11)),
    "dense_runs": ((3.31e-11, 5.87e-11), (4.76e-11, 1.1e-10)),
    "written_runs": ((1.34e-11, 1.54e-11), (6.22e-12, 1.38e-11)),
    "folded_taps": ((1.83e-11, 3.78e-11), (2.05e-11, 4.68e-11)),
    "folded_runs": ((4.44e-11, 8.64e-11), (7.36e-11, 1.91e-10)),
    "crowded": ((3.44e-11, 6.79e-11), (2.51e-11, 5.04e-11)),
    "blocks": ((6.33e-08, 1.16e-07), (6.06e-08, 8.87e-08)),
    "block_rows": ((8.43e-09, 1.31e-08), (7.69e-09, 1.34e-08)),
    "sourced": ((5.47e-11, 8.74e-11), (5.79e-11, 8.62e-11)),
    "ends": ((1.22e-09, 8.45e-10), (8.18e-10, 9.73e-10)),
    "vertical": ((2.49e-11, 8.07e-11), (7.49e-11, 2.02e-10)),
    "vertical_taps": ((1.5e-11, 2.56e-11), (1.7e-11, 3.4e-11)),
    "vertical_runs": ((1.34e-11, 9.87e-11), (3.43e-11, 5.86e-11)),
    "horizontal": ((3.12e-11, 6.72e-11), (3.18e-11, 6.69e-11)),
    "horizontal_taps": ((2.63e-11, 4.47e-11), (3.11e-11, 7.48e-11)),
    "horizontal_terms": ((1.16e-10, 2.39e-10), (9.84e-11, 1.66e-10)),
    "short": ((4.55e-11, 1.48e-10), (6.69e-11, 1.49e-10)),
    "slots": ((3.23e-11, 6.28e-11), (3.74e-11, 7.67e-11)),
    "flat_rows": ((1.2e-11, 2e-11), (1.81e-11, 3.63e-11)),
    "flat_columns": ((2.7e-11, 4.5e-11), (6.04e-11, 1.21e-10)),
    "flat_loads": ((4.66e-11, 7.5e-11), (4.52e-11, 1.16e-10)),
    "flat_shifted": ((4.37e-11, 8.46e-11), (5.92e-11, 8.12e-11)),
}
FIELDS: dict[str, Any] = {
    "name": ("reference (x86-64 with AVX-512, 2 cores)", "reference (x86-64 with AVX2, 2 cores)"),
    "threads": (2, 2),
    "registers": (32, 16),
    "lanes": ((16.0, 8.0), (8.0, 4.0)),
    "call_seconds": (1.46e-05, 1.02e-05),
    "thread_seconds": (1.54e-05, 1.1e-05),
    "thread_share": (1.11, 1.25),
    "recursion_seconds": ((1.46e-09, 2.6e-09), (2.59e-09, 5.02e-09)),
    "check_call_seconds": (3.06e-06, 5.03e-06),
    "check_seconds": ((5.6e-11, 9.3e-11), (1.15e-10, 1.2e-10)),
    "memory_seconds": ((3.09e-11, 1.42e-11), (4.06e-11, 2.4e-11)),
    "stream_seconds": ((2.63e-11, 1.5e-11), (2.91e-11, 1.23e-11)),
    "read_seconds": ((3e-11, 2.2e-11), (3e-11, 2.2e-11)),
    "fft_seconds": (
        (
            (
                (4100.0, 1.03e-08),
                (16400.0, 6.63e-09),
                (65500.0, 5.65e-09),
                (147000.0, 5.9e-09),
                (262000.0, 6.27e-09),
                (1050000.0, 8.58e-09),
            ),
            (
                (4100.0, 1.23e-08),
                (16400.0, 9.06e-09),
                (65500.0, 8.35e-09),
                (147000.0, 9.76e-09),
                (262000.0, 1.1e-08),
                (1050000.0, 1.72e-08),
            ),
        ),
        (
            (
                (4100.0, 1.03e-08),
                (16400.0, 6.63e-09),
                (65500.0, 5.65e-09),
                (147000.0, 5.9e-09),
                (262000.0, 6.27e-09),
                (1050000.0, 8.58e-09),
            ),
            (
                (4100.0, 1.23e-08),
                (16400.0, 9.06e-09),
                (65500.0, 8.35e-09),
                (147000.0, 9.76e-09),
                (262000.0, 1.1e-08),
                (1050000.0, 1.72e-08),
            ),
        ),
    ),
    "fft_pixel_seconds": (1e-09, 1e-09),
    "fft_apart_seconds": (9e-10, 9e-10),
    "fft_converted_seconds": (3.5e-09, 3.5e-09),
    "fft_call_seconds": (6e-05, 6e-05),
    "fft_thread_seconds": (0.0006, 0.0006),
    "line_seconds": ((2e-10, 2.2e-10), (1.4e-10, 1.6e-10)),
    "line_call_seconds": (1.3e-05, 1.3e-05),
}

CONSTANTS: dict[int, tuple[tuple[dict[str, float], ...], dict[str, Any]]] = {
    width: (
        tuple({name: entries[n][double] for name, entries in STEPS.items()} for double in range(2)),
        {name: entries[n] for name, entries in FIELDS.items()},
    )
    for n, width in enumerate(WIDTHS)
}
"""Vector width in bytes -> (seconds per step in float32 and in float64, other fields)."""
