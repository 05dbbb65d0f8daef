"""From photographs to image sets: where pictures come from, who is train, val and test, and the copies.

From the ground up: a module imports only those before it.

    images    one picture: bytes to upright RGB pixels and back
    archive   an image set on disk: a tar and a csv
    sources   where photographs come from: the demo, a folder, Kaggle
    collect   the raw set: every photograph of a source, checked
    split     who is train, val and test
    augment   the nine operations, and copies until the classes are equal
"""
