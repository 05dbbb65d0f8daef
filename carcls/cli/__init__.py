"""The command `carcls`: models of one's own photographs, and what a user does with them.

From the ground up: a module imports only those before it. None imports torch before it is needed.

    pictures   the pictures that a command line names
    predict    the most probable classes of pictures
    attack     pictures under FGSM
    train      a folder of classes as a model, and a model on such a folder
    program    the commands and their options
"""
