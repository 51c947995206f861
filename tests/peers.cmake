# What bench/peers relies on
if(SW_BENCH)
  sw_test(bench-serve SOURCES test_bench_serve.c LIBRARIES sw-test-support)
  add_dependencies(test-bench-serve swbench swbrokerd swchunk)
endif()
