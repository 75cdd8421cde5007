"""Sparse autoencoders as other libraries save them, read without their code and turned into codes of this one."""
