"""Predictions of a trained model on original, corrupted and attacked images, and their scores.

From the bottom up: a module imports only those before it.

    scores        logits of an image set, and scores computed from logits
    calibration   temperature scaling
    novelty       the distance of an image to the training images
    shown         the test images that the report shows
    heatmap       heat maps stored as a table
    attacks       the registry of attacks
    example       an attacked image with its predictions before and after the attack, without tensors
    corruptions   common corruptions, such as noise, blur and compression
    apgd          Auto-PGD
    attack        FGSM, noise, PGD and APGD on an image set
    attack_image  an attack on one image, rounded to 8 bits
    gradcam       heat maps by Grad-CAM
    doubts        possible label errors
    shortcuts     whether brightness, sharpness or size predict the class, and unusual photographs
"""
