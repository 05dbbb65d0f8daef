"""The command `carcls`: train a classifier on your own photographs and use it.

From the bottom up: a module imports only those before it. No module imports torch before it is needed.

    pictures   the image files named on the command line
    sort       sort images into class folders
    predict    the most probable classes of images
    attack     attacks on images with FGSM, PGD or noise
    train      train a model on class folders, and evaluate a model on such folders
    program    the commands and their options
"""
