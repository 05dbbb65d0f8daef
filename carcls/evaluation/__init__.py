"""What a trained model answers, clean and attacked, as tables and arrays.

From the bottom up: a module imports only those before it.

    scores      logits, and apart from them scores
    example     one attacked image with its answers before and after, without tensors
    attack      FGSM, noise and PGD
    apgd        Auto-PGD
    trial       one image attacked and answered as it is shown
    gradcam     where a model looks
    doubts      which labels to doubt
"""
