# Access tracing: the ring in client pages, the broker's recorder
sw_test(trace-ring SOURCES test_trace_ring.c LIBRARIES sw-core)
