"""From image sets to models and their answers.

From the ground up: a module imports only those before it.

    device        where tensors are computed, in which precision, from which random numbers
    distributed   several processes that train one model
    loading       image sets as tensors
    winograd      3 x 3 convolutions with fewer multiplications
    kernels       where training computes convolutions by winograd
    model         ResNets, which of their layers are frozen, and the files they are kept in
    perturbation  pixels moved against a model
    checkpoint    where a killed training goes on
    training      the loop, an epoch at a time
    variant       one cell of the study: an architecture in a configuration
    weights       pretrained backbones: where variants start
"""
