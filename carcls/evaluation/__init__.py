"""What a trained model answers, clean, corrupted and attacked, as tables and arrays.

From the bottom up: a module imports only those before it.

    scores        logits, and apart from them scores
    calibration   temperature scaling
    novelty       how far an image is from the training images
    shown         which test images a report shows
    heatmap       heat maps as a table
    attacks       the attacks by name
    example       one attacked image with its answers before and after, without tensors
    corruptions   what a camera or a file does to an image
    apgd          Auto-PGD
    attack        FGSM, noise and PGD, and all of them on an image set
    attack_image  one image attacked and classified as it is displayed
    gradcam       where a model looks
    doubts        which labels to doubt
    shortcuts     whether brightness, sharpness or size predict the class, and unusual photographs
"""
