"""From photographs to image sets: where pictures come from, who is train, val and test, and the copies.

From the ground up: a module imports only those before it.

    sources   where photographs come from: a folder, Kaggle
    collect   the raw set: every photograph of a source, checked
    copies    the same picture twice
    split     who is train, val and test
    augment   the nine operations, and copies until the classes are equal
"""
