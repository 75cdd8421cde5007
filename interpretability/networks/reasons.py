"""Why a layer of a wanted type gives no units."""

# what was asked for
FIRST, LAST = "the first of the layers", "the last of the layers"
OUTSIDE = "outside of attention and feed-forward blocks"
ASKED = (FIRST, LAST, OUTSIDE)
# what is found
NEVER, NO_TENSOR, COMPLEX = "never called in a pass", "gives no tensor", "complex values"
NOT_GROWING, NO_CHANNELS = "its output does not grow with the batch", "its output has no channels"
BESIDE = "its weights also act outside of its own calls, which is not read"
