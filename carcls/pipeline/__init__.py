"""The stages of the study as functions `NAME(params, root)`, one in each module; all paths are below `root`.

`stages/` calls each of them in the project folder, as dvc.yaml says. `carcls train` calls them in sequence in
its results folder.

    watch        external inputs, where DVC can see them change
    variants     which variants the study has
    download     every photograph of the source
    split        which photograph is for training, validation and test
    augment      the image sets, with copies that balance the classes
    weights      where pretrained variants start
    train        one variant
    chosen       the selected model, for the stages that look at it alone
    evaluate     the selected variant on the test set
    fgsm         the selected variant under attack
    corruptions  the selected variant under common corruptions
    robustness   every variant under attack and common corruptions, and its calibration
    report       every table and figure on one page
"""
