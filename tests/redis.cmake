# the Redis tier: its pure parts, brokers with a real redis-server, brokers with a fake one
if(SW_HAVE_REDIS)
  target_sources(sw-test-support PRIVATE support/redis.c support/fake_redis.c)
  target_link_libraries(sw-test-support PRIVATE Threads::Threads)
  sw_test(redis-parts SOURCES test_redis_parts.c LIBRARIES sw-broker)
  sw_test(redis-tier SOURCES test_redis_tier.c redis_fixture.c LIBRARIES sw-test-support TIMEOUT 240)
  sw_test(redis-fake SOURCES test_redis_fake.c redis_fixture.c LIBRARIES sw-test-support TIMEOUT 240)
endif()
