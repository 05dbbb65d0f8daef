"""Train and evaluate single models on the user's own photographs.

From the bottom up: a module imports only those before it.

    settings       the preset for photographs with the user's options, as checked params
    estimate       the duration of a training on this machine
    folder         the results folders: their names and files
    known          photographs that the starting weights were trained on
    label_errors   possible label errors among the photographs
    quality        brightness, sharpness and size of the photographs
    limits         calibrated probabilities and the novelty of images
    folds          cross-validation
    review         photographs to review, and decisions about them
    train          from photographs to a model and its report
    evaluate       evaluation of a trained model on other labelled photographs
    api            the Python interface
"""
