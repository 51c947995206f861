# sw-cache: shared memory, placement, policy, loading
add_library(sw-cache-fixture STATIC cache_fixture.c)
target_link_libraries(sw-cache-fixture PUBLIC sw-cache sw-flags PkgConfig::CRITERION)
sw_test(arena SOURCES test_arena.c LIBRARIES sw-cache)
sw_test(policy SOURCES test_policy.c LIBRARIES sw-cache)
sw_test(segment SOURCES test_segment.c LIBRARIES sw-cache sw-test-support)
sw_test(loader SOURCES test_loader.c LIBRARIES sw-cache)
sw_test(cache SOURCES test_cache.c cache_control.c cache_failures.c cache_order.c cache_remote.c
  LIBRARIES sw-cache-fixture)
sw_test(cache-adopt SOURCES test_cache_adopt.c LIBRARIES sw-cache-fixture sw-test-support)
if(SW_BENCH)
  add_test(NAME bench-load COMMAND swbench load --pairs 1 --size 4 --json)
  set_tests_properties(bench-load PROPERTIES TIMEOUT 120)
endif()
