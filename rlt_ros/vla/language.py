"""Instructions as token numbers: words hashed into a small table, so that no vocabulary file is needed."""

import re
import zlib

import numpy as np

WORDS = 12  # longest instruction in words; the rest is cut off
VOCABULARY = 512  # 0 is padding


def tokenize(instruction: str) -> np.ndarray:
    """(WORDS,) int64 token numbers of an instruction; case and punctuation do not count."""
    words = re.findall(r'[a-z0-9]+', instruction.lower())[:WORDS]
    numbers = [1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in words]
    return np.array(numbers + [0] * (WORDS - len(numbers)), np.int64)
