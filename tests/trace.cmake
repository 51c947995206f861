# Access tracing: the ring in client pages, the broker's recorder; what swbench makes of a trace
sw_test(trace-ring SOURCES test_trace_ring.c LIBRARIES sw-core)
if(SW_BENCH)
  sw_test(trace SOURCES test_trace.c LIBRARIES sw sw-bench sw-test-support)
  sw_test(swbench SOURCES test_swbench.c LIBRARIES sw-test-support TIMEOUT 300)
  add_dependencies(test-swbench swbench swbert)
  sw_test(simulate SOURCES test_simulate.c test_bound.c LIBRARIES sw-bench)
endif()
