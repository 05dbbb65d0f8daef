"""From photographs to image sets: sources, duplicates, splits and augmentation.

From the bottom up: a module imports only those before it.

    sources   the sources of photographs: a folder, Kaggle
    labels    the table that sets classes, exclusions and groups of photographs
    collect   the raw image set: every photograph of a source, decoded once to check it
    copies    duplicates, near-duplicates and groups
    split     train, val and test
    augment   the nine operations, and class balancing with augmented copies
"""
