"""The drawn cars of the demo, and the backbones pretrained on them.

From the bottom up: a module imports only those before it.

    cars          the geometry of a car
    drawing       a car as a picture
    photographs   the demo's classes and pictures, as a source of photographs
    pretraining   backbones pretrained on other drawn classes
"""
