# The whole system under kills, with each io engine. The long mode is run by hand:
#   build/release/torture --kills 1000 --seconds 120 --seed N
add_executable(torture torture.c torture_program.c torture_worker.c)
target_include_directories(torture PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_definitions(torture PRIVATE SW_BUILD_DIR="${CMAKE_BINARY_DIR}")
target_link_libraries(torture PRIVATE sw-manager-lib sw-client sw-core sw-flags PkgConfig::JANSSON)
add_dependencies(torture swbrokerd swctl swchunk)
foreach(engine uring threads)
  add_test(NAME torture-${engine} COMMAND torture --kills 60 --seconds 10 --io-engine ${engine})
  set_tests_properties(torture-${engine} PROPERTIES TIMEOUT 180)
endforeach()
# and with a service manager that keeps the arena and the sessions over the broker's deaths
if(TARGET PkgConfig::SYSTEMD)
  foreach(engine uring threads)
    add_test(NAME torture-managed-${engine}
      COMMAND torture --kills 60 --seconds 10 --io-engine ${engine} --managed)
    set_tests_properties(torture-managed-${engine} PROPERTIES TIMEOUT 180)
  endforeach()
endif()
