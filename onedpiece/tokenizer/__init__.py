"""The tokenizers as PyTorch modules, and `Tokenizer`, which loads them."""
