"""What every package builds on and that decides results: random numbers, scores, processes.

From the bottom up: a module imports only those before it.

    seeds       one seed, many independent random streams
    scoring     macro F1 from counts
    startup     per-process settings: determinism, threads, memory
    experiment  experiments that DVC runs in a temporary copy
    pool        work for several processes
"""
