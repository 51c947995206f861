# swbrokerd and swctl as processes, and the loop on its own
sw_test(broker-life SOURCES test_broker_life.c LIBRARIES sw-test-support)
sw_test(broker-wire SOURCES test_broker_wire.c LIBRARIES sw-test-support)
sw_test(broker-limits SOURCES test_broker_limits.c LIBRARIES sw-test-support)
sw_test(broker-files SOURCES test_broker_files.c LIBRARIES sw-test-support)
sw_test(loop SOURCES test_loop.c LIBRARIES sw-broker sw-test-support)
foreach(program swbrokerd swctl swchunk)
  add_dependencies(sw-test-support ${program})
endforeach()
