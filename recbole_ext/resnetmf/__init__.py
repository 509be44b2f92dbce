"""ResNetMF: rating regression with towers over the embeddings."""
