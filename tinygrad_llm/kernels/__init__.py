"""The fast pairs: raw arrays in, raw arrays out, written for few passes over memory. No Tensor in here."""
