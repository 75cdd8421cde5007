"""Texts that explain units: what they are judged on, what they are made of, how they score, and what people are asked."""
