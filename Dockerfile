# The command line and the web page, for your own photos: docs/recipes.md has the commands
FROM python:3.11-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends fonts-noto-cjk git \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/carcls
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY carcls carcls
RUN python -m pip install --no-cache-dir --constraint constraints.txt '.[heic,onnx,web]'
# a container may run as any user, who needs a writable $HOME/.cache for weights and fonts
ENV HOME=/tmp
WORKDIR /photos
ENTRYPOINT ["carcls"]
CMD ["--help"]
