"""Predictions, scores, heat maps and attacks, as tables and arrays.

From the bottom up: a module imports only those before it.

    scores      predictions as logits, and their scores
    shown       the test images that the report shows
    heatmap     heat maps as a table
    attacks     the attacks by name
    example     one attacked image and its predictions, without tensors
    apgd        Auto-PGD
    attack      FGSM, noise and PGD, and all attacks on an image set
    attack_image    one image, attacked and classified as it is displayed
    gradcam     heat maps by Grad-CAM
    doubts      possible label errors
"""
