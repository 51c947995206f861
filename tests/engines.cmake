# SPDX-License-Identifier: MIT
# What runs with a real broker, once more with its pool of reading threads: elsewhere the broker takes io_uring
# where the kernel has it. Suites of the cache and the loader go through both by themselves.
if(NOT SW_SANITIZE STREQUAL "thread")
  foreach(suite broker-wire broker-limits broker-files client-broker bert-engine swbert-output swbert-failures
                trace)
    if(TARGET test-${suite})
      get_test_property(${suite} TIMEOUT timeout)
      get_target_property(jobs test-${suite} SW_JOBS)
      add_test(NAME ${suite}-threads COMMAND test-${suite} ${SW_CRITERION} ${jobs})
      set_tests_properties(${suite}-threads PROPERTIES
        TIMEOUT ${timeout} COST ${jobs} ENVIRONMENT SW_TEST_IO_ENGINE=threads)
    endif()
  endforeach()
endif()
