# core: wire codec, digests, half floats, panels, sizes, error texts, safetensors headers, manifests
sw_test(core-numbers SOURCES core_numbers.c LIBRARIES sw-core m)
sw_test(core-wire SOURCES core_wire.c LIBRARIES sw-core)
sw_test(core-safetensors SOURCES core_safetensors.c LIBRARIES sw-core)
sw_test(core-manifest SOURCES core_manifest.c LIBRARIES sw-core)
sw_test(core-socket SOURCES core_socket.c LIBRARIES sw-core sw-test-support)
