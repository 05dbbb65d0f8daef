"""The stages of the study as functions `NAME(params, root)`, one per module; all paths are below `root`.

Each script in `stages/` calls one of them in the project folder. `carcls train` calls them in sequence in its
results folder.

    watch        links to external inputs, so that DVC detects changes
    variants     the variants of the study
    download     all photographs of the source
    split        train, val or test for each photograph
    augment      the image sets, with copies that balance the classes
    weights      the pretrained backbones
    train        one variant
    chosen       the selected model, for the stages that use no other
    evaluate     the selected variant on the test set
    fgsm         the selected variant under attack
    corruptions  the selected variant under common corruptions
    robustness   every variant under attack and common corruptions, and its calibration
    report       every table and figure on one page
"""
