# core: wire codec, lease protocol, digests, half floats, panels, sizes
