"""Fine-grained car classification with ResNet: the library behind the pipeline of dvc.yaml."""
