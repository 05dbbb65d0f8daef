"""Training: from image sets to models and their predictions.

From the bottom up: a module imports only those before it.

    device        the device, the precision and the random numbers of PyTorch
    distributed   several processes that train one model
    loading       image sets as tensors
    winograd      3 x 3 convolutions with fewer multiplications
    kernels       the choice of the convolutions that training computes by winograd
    model         ResNets, their frozen layers, and model files
    perturbation  adversarial perturbations of images
    checkpoint    the file from which a killed training resumes
    training      the training loop
    variant       one cell of the study: an architecture in a configuration
    weights       pretrained backbones
"""
