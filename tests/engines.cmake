# SPDX-License-Identifier: MIT
# Suites with a real broker, repeated with its pool of reading threads; otherwise the broker uses io_uring if
# the kernel has it. The suites of the cache and the loader cover both themselves.
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
