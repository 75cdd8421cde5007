"""Commands that people run beside the stages."""
