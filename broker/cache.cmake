# sw-cache: what lies beneath cache.h (shared memory, placement, policy, loading)
add_library(sw-cache STATIC
  arena.c
  cache.c
  cache_adopt.c
  cache_load.c
  cache_queue.c
  cache_room.c
  cache_source.c
  cache_stats.c
  cache_verify.c
  latency.c
  ledger.c
  loader.c
  loader_threads.c
  loader_uring.c
  policy.c
  policy_next.c
  segment.c)
target_link_libraries(sw-cache PUBLIC sw-core sw-flags PRIVATE PkgConfig::URING Threads::Threads m)
target_include_directories(sw-cache PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
