"""From photographs to image sets: sources, duplicates, splits and augmentation.

From the bottom up: a module imports only those before it.

    sources   the sources of photographs: a folder, Kaggle
    labels    a table of classes, exclusions and groups for photographs
    collect   the raw set: every photograph of a source, checked
    copies    duplicates and near-duplicates
    split     train, val and test
    augment   the nine operations, and class balancing with augmented copies
"""
