"""Code that all packages use and that affects results: random numbers, scores, processes.

From the bottom up: a module imports only those before it.

    seeds     one seed, many independent random streams
    scoring   macro F1 from counts, calibration error
    variants  the eight variants of the study
    startup   per-process settings: determinism, threads, memory
    pool      a map that runs in several processes
"""
