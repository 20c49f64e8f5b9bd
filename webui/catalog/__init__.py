"""Which model files exist and what they are, told without torch and without opening more than a header."""
